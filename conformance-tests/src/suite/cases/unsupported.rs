//! What a plugin cannot do is refused before anything is changed: one case for each capability.

use anyhow::ensure;
use bootwright_core::ErrorKind;

use super::{
    World, case,
    steps::{entries_if_seen, next_image, nothing_changed},
};
use crate::{
    suite::{
        Case, CaseResult, Channel, Defect, Demand, InstallOptions, PluginCall, Property, TestImage,
        UpgradeMode, refused,
    },
    system::KernelFormat,
};

const CALLS: Demand = Demand::Tier(Property::PluginCalls);
const SAME: Demand = Demand::Tier(Property::Fingerprints);

macro_rules! call {
    ($name:literal, $without:expr, $call:ident $(, $more:expr)*) => {
        case!($name, ["BW-006"], [$without, CALLS, SAME $(, $more)*], Running, calls::$call)
    };
}

pub(super) const CASES: &[Case] = &[
    call!("unsupported::verified_root", Demand::BackendWithout("verified_root"), verified_store),
    call!("unsupported::offline_seal", Demand::BackendWithout("offline_seal"), offline_seal),
    call!("unsupported::predictable_root_args", Demand::BackendWithout("predictable_root_args"), root_args),
    call!("unsupported::split_kernels", Demand::LoaderWithout("split_kernels"), split_entry),
    call!("unsupported::unified_kernels", Demand::LoaderWithout("unified_kernels"), unified_entry),
    call!(
        "unsupported::addons",
        Demand::LoaderWithout("addons"),
        extra_arguments,
        Demand::Loader("unified_kernels")
    ),
    call!("unsupported::boot_counting", Demand::LoaderWithout("boot_counting"), counted_tries),
    call!("unsupported::one_shot", Demand::LoaderWithout("one_shot"), one_shot),
    case!(
        "unsupported::an_install_that_insists_on_verified_reads",
        ["BW-006"],
        [Demand::BackendWithout("verified_root"), SAME],
        Blank,
        insisting_install
    ),
    case!(
        "unsupported::an_upgrade_to_a_split_kernel",
        ["BW-006", "BW-118"],
        [Demand::LoaderWithout("split_kernels"), SAME],
        Running,
        upgrade_to_split
    ),
    case!(
        "unsupported::an_upgrade_to_a_uki",
        ["BW-006", "BW-118"],
        [Demand::LoaderWithout("unified_kernels"), SAME],
        Running,
        upgrade_to_unified
    ),
    case!(
        "unsupported::arguments_for_a_sealed_uki",
        ["BW-006", "BW-119"],
        [Demand::LoaderWithout("addons"), Demand::Format(KernelFormat::Unified)],
        Blank,
        arguments_for_a_uki
    ),
    case!(
        "unsupported::an_upgrade_to_a_sealed_uki_that_arguments_do_not_reach",
        ["BW-006", "BW-110", "BW-119"],
        [Demand::LoaderWithout("addons"), Demand::BothFormats, Demand::Format(KernelFormat::Split), SAME],
        Blank,
        upgrade_with_arguments
    ),
];

/// One function per direct call.
mod calls {
    use super::{CaseResult, ErrorKind, PluginCall, World, nothing_changed, refused};

    async fn call(world: &mut dyn World, call: PluginCall) -> CaseResult {
        let before = world.fingerprint().await?;
        let refusal = refused(world.ask_plugin(call).await)?;
        nothing_changed(world, &before, &refusal, ErrorKind::Unsupported).await
    }

    macro_rules! calls {
        ($($name:ident: $call:ident;)+) => {$(
            pub(super) async fn $name(world: &mut dyn World) -> CaseResult {
                call(world, PluginCall::$call).await
            }
        )+};
    }

    calls! {
        verified_store: VerifiedStore;
        offline_seal: OfflineSeal;
        root_args: RootArgs;
        split_entry: SplitEntry;
        unified_entry: UnifiedEntry;
        extra_arguments: ExtraArguments;
        counted_tries: CountedTries;
        one_shot: OneShot;
    }
}

async fn insisting_install(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let before = world.fingerprint().await?;
    let options = InstallOptions { require_verity: true, ..InstallOptions::default() };
    let refusal = refused(world.install(&options).await)?;
    nothing_changed(world, &before, &refusal, ErrorKind::Unsupported).await?;
    ensure!(refusal.text.contains("hint"), "nobody says what would work: {}", refusal.text);
    world.install(&InstallOptions::default()).await?;
    let running = world.power_on().await?;
    ensure!(running.version == image.version, "{running:?} runs");
    Ok(())
}

/// An upgrade to this image is refused, and leaves nothing behind.
async fn upgrade_is_refused(world: &mut dyn World, image: &TestImage) -> CaseResult {
    world.publish(Channel::MAIN, image).await?;
    let before = world.fingerprint().await?;
    let refusal = refused(world.upgrade(UpgradeMode::Stage).await)?;
    nothing_changed(world, &before, &refusal, ErrorKind::Unsupported).await?;
    super::steps::upgrade(world).await.map(drop)
}

async fn upgrade_to_split(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).format(KernelFormat::Split);
    upgrade_is_refused(world, &image).await
}

async fn upgrade_to_unified(world: &mut dyn World) -> CaseResult {
    let image = next_image(world).format(KernelFormat::Unified);
    upgrade_is_refused(world, &image).await
}

const ARGUMENT: &str = "suite.admin=1";

fn with_an_argument() -> InstallOptions {
    InstallOptions { kargs: vec![ARGUMENT.to_owned()], ..InstallOptions::default() }
}

/// What the UKI of an image says is known when the image is on the new disk: an install that fails leaves a disk to be made anew, on which nothing
/// boots.
async fn arguments_for_a_uki(world: &mut dyn World) -> CaseResult {
    let image = next_image(world);
    world.publish(Channel::MAIN, &image).await?;
    let refusal = refused(world.install(&with_an_argument()).await)?;
    ensure!(refusal.kind == ErrorKind::Unsupported, "refused as {}: {}", refusal.kind, refusal.text);
    if world.demand(&CALLS).is_ok() {
        // A virtual machine tells only while it runs.
        let entries = world.entries().await?;
        ensure!(entries.is_empty(), "what was refused would boot: {entries:#?}");
    }
    Ok(())
}

/// Arguments that a kernel with a separate initramfs took at the install are kept, and so cannot be dropped for a UKI.
async fn upgrade_with_arguments(world: &mut dyn World) -> CaseResult {
    super::steps::install(world, &with_an_argument()).await?;
    upgrade_to_unified(world).await?;
    let cmdline = world.cmdline().await?;
    ensure!(cmdline.split_whitespace().any(|word| word == ARGUMENT), "the argument is lost: {cmdline}");
    Ok(())
}

/// Images that are refused for what they are.
pub(super) mod images {
    use super::{
        Case, CaseResult, Channel, Defect, Demand, ErrorKind, KernelFormat, Property, SAME, UpgradeMode,
        World, case, ensure, entries_if_seen, next_image, nothing_changed, refused,
    };

    pub(in super::super) const CASES: &[Case] = &[
        case!("image::without_a_kernel_is_refused", ["BW-121"], [SAME], Running, no_kernel),
        case!("image::with_two_kernels_is_refused", ["BW-121"], [SAME], Running, two_kernels),
        case!("image::for_another_architecture_is_refused", ["BW-504"], [SAME], Running, architecture),
        case!(
            "image::whose_uki_names_another_root_is_refused",
            ["BW-306", "BW-008"],
            [SAME, Demand::Format(KernelFormat::Unified), Demand::Backend("predictable_root_args")],
            Running,
            foreign_root
        ),
        case!(
            "image::with_a_damaged_layer_is_refused",
            ["BW-301", "BW-302"],
            [Demand::Tier(Property::DamagedLayers)],
            Running,
            damaged_layer
        ),
    ];

    async fn is_refused(world: &mut dyn World, defect: Defect, kind: ErrorKind) -> CaseResult {
        // An earlier upgrade may have left a download behind.
        world.gc().await?;
        let image = next_image(world).defect(defect);
        world.publish(Channel::MAIN, &image).await?;
        let before = world.fingerprint().await?;
        let refusal = refused(world.upgrade(UpgradeMode::Stage).await)?;
        nothing_changed(world, &before, &refusal, kind).await?;
        super::super::steps::upgrade(world).await.map(drop)
    }

    async fn no_kernel(world: &mut dyn World) -> CaseResult {
        is_refused(world, Defect::NoKernel, ErrorKind::InvalidInput).await
    }

    async fn two_kernels(world: &mut dyn World) -> CaseResult {
        is_refused(world, Defect::TwoKernels, ErrorKind::InvalidInput).await
    }

    async fn architecture(world: &mut dyn World) -> CaseResult {
        is_refused(world, Defect::WrongArchitecture, ErrorKind::Unsupported).await
    }

    async fn foreign_root(world: &mut dyn World) -> CaseResult {
        is_refused(world, Defect::ForeignRoot, ErrorKind::Integrity).await
    }

    /// What arrived whole may stay for the next try; nothing of it counts.
    async fn damaged_layer(world: &mut dyn World) -> CaseResult {
        let image = next_image(world).defect(Defect::DamagedLayer);
        world.publish(Channel::MAIN, &image).await?;
        let before = (entries_if_seen(world).await?, world.status().await?);
        let refusal = refused(world.upgrade(UpgradeMode::Stage).await)?;
        let kind = refusal.kind;
        ensure!(kind == ErrorKind::Integrity, "refused as {kind}: {}", refusal.text);
        let after = (entries_if_seen(world).await?, world.status().await?);
        ensure!(before == after, "what was refused is there: {before:#?} {after:#?}");
        super::super::steps::upgrade(world).await.map(drop)
    }
}
