//! Publishing, rollback, trials and clean-up on folders, judged by an interpreter of GRUB's script language that shares no code with the
//! plugin.
#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod grub;
#[path = "../../systemd-boot/tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use bootwright_core::{
    Bootloader, Effect, ErrorKind,
    context::Firmware,
    efi::{EfiVariables, GLOBAL_VENDOR},
    fs::Faults,
    model::{Addon, BootPlan, BootState, EntrySpec, KernelArtifacts, PlannedEntry},
    uki::synthetic,
};
use bootwright_loader_grub2::Grub2;
use grub::{Grub, Loaded};
use support::{
    Machine, Make, Store, add, back, deployment, entry_id, keep, new_default, order, plan_with, publish,
    roll_back, room_covers_each_change, sealed, set, tree, write,
};

const CONFIG: &str = "EFI/bootwright/grub.cfg";
const ENV: &str = "EFI/bootwright/grubenv";

fn loader(machine: &Machine) -> Grub2 {
    faulty(machine, &Faults::none())
}

fn faulty(machine: &Machine, faults: &Faults) -> Grub2 {
    Grub2::new(machine.context(faults))
}

fn grub(machine: &Machine) -> Grub {
    Grub::new(machine.folder.path())
}

/// The deployment on the command line, after checking that the kernel is its own.
fn deployment_of(loaded: &Loaded) -> String {
    let of = |text: &str, what: &str| {
        let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in what boots")).1;
        rest.split([' ', '\0']).next().unwrap().to_owned()
    };
    let text = String::from_utf8_lossy(&loaded.kernel).into_owned();
    if loaded.chainloaded {
        let id = of(&text, "root=");
        assert!(loaded.cmdline.is_empty() || of(&loaded.cmdline, "root=") == id);
        return id;
    }
    assert_eq!(loaded.initrds, [b"one initrd for all"]);
    let id = of(&loaded.cmdline, "root=");
    assert_eq!(of(&text, "kernel of "), id, "the kernel belongs to another deployment");
    id
}

fn boots(machine: &Machine) -> Option<String> {
    grub(machine).boot().map(|loaded| deployment_of(&loaded))
}

async fn with(specs: &[&str]) -> (Machine, Store) {
    let (machine, store) = (Machine::new(), Store::new());
    for id in specs {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    (machine, store)
}

fn tried(store: &Store, id: &str, tries: u32) -> EntrySpec {
    EntrySpec { tries: Some(tries), ..store.split(id) }
}

async fn read(machine: &Machine) -> BootState {
    loader(machine).read().await.unwrap()
}

/// All partitions.
fn files(machine: &Machine) -> Vec<String> {
    tree(machine.folder.path()).into_keys().filter(|path| path.contains("bootwright-grub/")).collect()
}

/// spec: BW-405
#[tokio::test]
async fn the_newest_publication_boots_and_the_others_follow_in_order() {
    let (machine, store) = with(&["a", "b", "c"]).await;
    assert_eq!(boots(&machine).as_deref(), Some("c"));
    let state = read(&machine).await;
    assert_eq!((order(&state), state.generation), (vec!["c".into(), "b".into(), "a".into()], 3));
    let first = &state.entries[0];
    assert_eq!(first.cmdline.as_ref().unwrap().to_string(), "root=c quiet");
    assert_eq!((first.title.as_str(), first.problem.as_deref(), first.tries_left), ("System c", None, None));
    roll_back(&loader(&machine), &store, "a").await;
    assert_eq!(boots(&machine).as_deref(), Some("a"));
}

/// spec: BW-412
#[tokio::test]
async fn a_uki_is_given_all_its_arguments_or_none() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, store.unified("u", "extra")).await;
    let loaded = grub(&machine).boot().unwrap();
    assert_eq!(loaded.cmdline, "root=u sealed from-addon extra");
    let mut spec = store.unified("v", "");
    if let KernelArtifacts::Unified { addons, .. } = &mut spec.artifacts.kernel {
        addons.clear();
    }
    add(&loader(&machine), &store, spec).await;
    let loaded = grub(&machine).boot().unwrap();
    assert!(loaded.chainloaded && loaded.cmdline.is_empty());
    assert_eq!(deployment_of(&loaded), "v");
}

/// spec: BW-416
#[tokio::test]
async fn a_bios_is_not_given_a_uki_and_passes_it_over() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, store.unified("u", "")).await;
    let bios = Grub { platform: "pc", ..grub(&machine) };
    assert_eq!(deployment_of(&bios.boot().unwrap()), "a");
    let mut context = machine.context(&Faults::none());
    context.firmware = Firmware::Bios;
    let capabilities = Grub2::new(context).capabilities();
    assert!(!capabilities.unified_kernels && !capabilities.addons && capabilities.split_kernels);
}

#[tokio::test]
async fn what_grub_cannot_hand_over_is_refused_before_anything_is_written() {
    let (machine, store) = with(&["a"]).await;
    let before = tree(machine.folder.path());
    let mut odd_addon = store.unified("u", "");
    if let KernelArtifacts::Unified { addons, .. } = &mut odd_addon.artifacts.kernel {
        let blob = store.blob("dtb", &synthetic::image(&[(".dtb", b"tree")]));
        *addons = vec![Addon { name: "d.addon.efi".into(), blob }];
    }
    let mut backslash = store.split("b");
    backslash.extra_args = "a=b\\c".parse().unwrap();
    for spec in [odd_addon, backslash] {
        let plan = plan_with(&read(&machine).await, PlannedEntry::Add(Box::new(spec)));
        let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(tree(machine.folder.path()), before);
    }
    machine.efi.as_ref().unwrap().write(GLOBAL_VENDOR, "SecureBoot", &[1]).unwrap();
    let plan = plan_with(&read(&machine).await, PlannedEntry::Add(Box::new(store.unified("s", "extra"))));
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert!(error.message().contains("Secure Boot"), "{error}");
}

/// Stops a publication before each of its mutations, and checks what boots and what the loader says boots.
async fn crash_sweep(xbootldr: bool, make: Make, new: &str) {
    for n in 0.. {
        let (mut machine, store) = (Machine::new(), Store::new());
        machine.xbootldr = xbootldr;
        for id in ["a", "b"] {
            add(&loader(&machine), &store, store.split(id)).await;
        }
        let plan = make(&store, &read(&machine).await);
        let faults = Faults::stop_before(n);
        let result = publish(&faulty(&machine, &faults), &plan, &store).await;
        let state = read(&machine).await;
        let after = boots(&machine).unwrap();
        let expected = if state.generation == plan.generation { new } else { "b" };
        assert_eq!(after, expected, "stopped before mutation {n}");
        assert_eq!(
            order(&state)[0],
            expected,
            "read() disagrees with what boots, stopped before mutation {n}"
        );
        assert!(state.entries.iter().all(|entry| entry.problem.is_none()));
        if let Err(error) = &result {
            assert_eq!(error.effect() == Effect::Committed, expected == new, "stopped before mutation {n}");
            loader(&machine).sweep(&state.deployments()).await.unwrap();
            assert_eq!(boots(&machine).as_deref(), Some(expected));
            let left = tree(machine.folder.path());
            assert!(!left.keys().any(|path| path.contains("bootwright-tmp")), "temporary files stayed");
            publish(&loader(&machine), &make(&store, &read(&machine).await), &store).await.unwrap();
            assert_eq!(boots(&machine).as_deref(), Some(new));
            continue;
        }
        assert!(n >= 2 && after == new && !faults.stopped());
        return;
    }
}

/// `c` in front, on trial.
fn new_trial(store: &Store, state: &BootState) -> BootPlan {
    plan_with(state, PlannedEntry::Add(Box::new(tried(store, "c", 3))))
}

/// spec: BW-404
#[tokio::test]
async fn the_room_that_is_asked_for_covers_each_change_of_a_publication() {
    let apart = || Machine { xbootldr: true, ..Machine::new() };
    room_covers_each_change(Machine::new, faulty, &["a"], new_trial).await;
    room_covers_each_change(apart, faulty, &[], new_trial).await;
    room_covers_each_change(Machine::new, faulty, &["a"], sealed).await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_publication_leaves_the_old_or_the_new_system() {
    crash_sweep(false, new_trial, "c").await;
    crash_sweep(true, new_trial, "c").await;
    crash_sweep(false, sealed, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_rollback_leaves_the_old_or_the_new_system() {
    crash_sweep(false, back, "a").await;
}

/// spec: BW-002, BW-102
#[tokio::test]
async fn staging_is_invisible_and_reads_nothing_for_entries_that_stay() {
    let (machine, store) = with(&["a", "b"]).await;
    let before = read(&machine).await;
    let plan = new_default(&store, &before);
    let _ = loader(&machine).stage(&plan, &store, Some(&store)).await.unwrap();
    assert_eq!(read(&machine).await, before);
    assert_eq!(boots(&machine).as_deref(), Some("b"));
    store.blobs.lock().unwrap().clear();
    let plan = plan_with(&before, keep(&before, "a"));
    loader(&machine).stage(&plan, &store, None).await.unwrap();
}

/// spec: BW-409, BW-414
#[tokio::test]
async fn an_entry_that_never_proves_good_is_left_for_the_one_before() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, tried(&store, "b", 2)).await;
    for left in [2, 1] {
        assert_eq!(read(&machine).await.entries[0].tries_left, Some(left));
        assert_eq!(boots(&machine).as_deref(), Some("b"));
    }
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    let state = read(&machine).await;
    assert_eq!(order(&state), ["a", "b"]);
    assert_eq!(state.entries[1].tries_left, Some(0));
    // Whoever asks for it again gets it once more.
    roll_back(&loader(&machine), &store, "b").await;
    assert_eq!(boots(&machine).as_deref(), Some("b"));
    assert_eq!(boots(&machine).as_deref(), Some("a"));
}

/// spec: BW-409
#[tokio::test]
async fn a_confirmed_entry_is_not_counted_any_more() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, tried(&store, "b", 1)).await;
    assert_eq!(boots(&machine).as_deref(), Some("b"));
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    loader(&machine).confirm(&deployment("a")).await.unwrap();
    assert_eq!(read(&machine).await.entries[0].tries_left, None);
    for _ in 0..3 {
        assert_eq!(boots(&machine).as_deref(), Some("b"));
    }
    // And it stays good in the plans that follow.
    add(&loader(&machine), &store, store.split("c")).await;
    roll_back(&loader(&machine), &store, "b").await;
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-417
#[tokio::test]
async fn a_trial_that_cannot_be_counted_is_not_begun() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, tried(&store, "b", 3)).await;
    let broken = Grub { writable: false, ..grub(&machine) };
    assert_eq!(deployment_of(&broken.boot().unwrap()), "a");
    for damage in [&b""[..], b"# GRUB Env", &[0xff; 1024]] {
        write(&machine.esp(), ENV, damage);
        assert_eq!(boots(&machine).as_deref(), Some("a"));
        assert_eq!(read(&machine).await.entries.len(), 2);
    }
    // The next publication repairs the block.
    add(&loader(&machine), &store, tried(&store, "c", 1)).await;
    assert_eq!(boots(&machine).as_deref(), Some("c"));
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-410
#[tokio::test]
async fn a_one_shot_boot_happens_once() {
    let (machine, store) = with(&["a", "b"]).await;
    let state = read(&machine).await;
    let plan = BootPlan { one_shot: Some(entry_id(&state, "a")), ..plan_with(&state, keep(&state, "b")) };
    publish(&loader(&machine), &plan, &store).await.unwrap();
    assert_eq!(read(&machine).await.one_shot, Some(entry_id(&state, "a")));
    assert_eq!(boots(&machine).as_deref(), Some("a"));
    assert_eq!(read(&machine).await.one_shot, None);
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-406
#[tokio::test]
async fn a_sweep_removes_entries_and_files_that_nothing_needs_and_keeps_the_default() {
    let (machine, store) = with(&["a", "b", "c"]).await;
    loader(&machine).sweep(&set(&["b"])).await.unwrap();
    assert_eq!(order(&read(&machine).await), ["c", "b"]);
    // Two kernels and the initrd that both use, and perhaps a mark.
    assert_eq!(files(&machine).iter().filter(|path| !path.contains("/disk-")).count(), 3);
    assert!(loader(&machine).sweep(&set(&["b"])).await.unwrap().items.is_empty());
    let error = loader(&machine).sweep(&set(&[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    add(&loader(&machine), &store, tried(&store, "d", 2)).await;
    assert_eq!(boots(&machine).as_deref(), Some("d"));
    loader(&machine).confirm(&deployment("d")).await.unwrap();
    add(&loader(&machine), &store, store.split("e")).await;
    loader(&machine).sweep(&set(&["e"])).await.unwrap();
    let env = std::fs::read_to_string(machine.esp().join(ENV)).unwrap();
    assert!(!env.contains("bw_tries"), "the counter of an entry that is gone stayed: {env}");
}

/// spec: BW-004, BW-401
#[tokio::test]
async fn a_sweep_that_is_stopped_anywhere_never_breaks_what_stays() {
    for n in 0..30 {
        let (machine, store) = with(&["a", "b"]).await;
        roll_back(&loader(&machine), &store, "a").await;
        let done = faulty(&machine, &Faults::stop_before(n)).sweep(&set(&["a"])).await.is_ok();
        assert_eq!(boots(&machine).as_deref(), Some("a"));
        let state = read(&machine).await;
        assert!(state.entries.iter().all(|entry| entry.problem.is_none()), "stopped before mutation {n}");
        if done {
            return;
        }
    }
    panic!("the sweep never ended");
}

/// spec: BW-007
#[tokio::test]
async fn files_of_others_stay_byte_for_byte() {
    let (machine, store) = (Machine::new(), Store::new());
    let foreign: &[(&str, &[u8])] = &[
        ("EFI/debian/grub.cfg", b"menuentry 'Debian' {\n}\n#bootwright-plan: {\"generation\":99}\n"),
        ("EFI/debian/grubenv", b"# GRUB Environment Block\n####"),
        ("EFI/bootwright/user.cfg", b"set GRUB2_PASSWORD='grub.pbkdf2.sha512.x'\n"),
        ("EFI/bootwright/custom.cfg", b"set timeout='30'\n"),
        ("EFI/BOOT/BOOTX64.EFI", b"somebody's loader"),
    ];
    for (path, content) in foreign {
        write(&machine.esp(), path, content);
    }
    for id in ["a", "b"] {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    roll_back(&loader(&machine), &store, "a").await;
    loader(&machine).confirm(&deployment("a")).await.unwrap();
    loader(&machine).sweep(&set(&["a"])).await.unwrap();
    let after = tree(&machine.esp());
    for (path, content) in foreign {
        assert_eq!(after.get(*path).map(Vec::as_slice), Some(*content), "{path}");
    }
    let state = read(&machine).await;
    assert_eq!((state.generation, order(&state)), (3, vec!["a".into()]));
    assert_eq!(state.foreign.len(), 3, "{:?}", state.foreign);
    let menu = grub(&machine).menu().unwrap();
    assert_eq!(menu.passwords, ["root grub.pbkdf2.sha512.x"]);
    assert_eq!(menu.timeout.as_deref(), Some("30"));
}

/// spec: BW-407
#[tokio::test]
async fn a_damaged_configuration_is_reported_and_the_next_publication_repairs_it() {
    let (machine, store) = with(&["a", "b"]).await;
    let whole = std::fs::read(machine.esp().join(CONFIG)).unwrap();
    for length in (0..whole.len()).step_by(97) {
        write(&machine.esp(), CONFIG, &whole[..length]);
        let state = read(&machine).await;
        assert!(state.entries.iter().all(|entry| entry.problem.is_some()), "cut after {length} bytes");
        loader(&machine).sweep(&set(&["a"])).await.unwrap();
        assert!(files(&machine).len() >= 3, "a damaged record cost files");
    }
    write(&machine.esp(), CONFIG, &[0xff; 3000]);
    let state = read(&machine).await;
    assert!(state.entries.is_empty());
    let plan = BootPlan {
        generation: 9,
        entries: vec![PlannedEntry::Add(Box::new(store.split("b")))],
        one_shot: None,
    };
    publish(&loader(&machine), &plan, &store).await.unwrap();
    assert_eq!(boots(&machine).as_deref(), Some("b"));
}

/// spec: BW-408
#[tokio::test]
async fn a_rollback_to_a_damaged_kernel_is_refused() {
    let (machine, store) = with(&["a", "b"]).await;
    let state = read(&machine).await;
    for file in files(&machine).iter().filter(|path| path.ends_with("/linux")) {
        let path: PathBuf = machine.folder.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[700] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
    let error = publish(&loader(&machine), &plan_with(&state, keep(&state, "a")), &store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(read(&machine).await, state);
}

/// spec: BW-403
#[tokio::test]
async fn a_disk_that_fills_up_while_staging_changes_nothing() {
    let (machine, mut store) = with(&["a"]).await;
    let before = tree(machine.folder.path());
    let spec = store.split("b");
    store.full.insert("b/linux".into());
    let plan = plan_with(&read(&machine).await, PlannedEntry::Add(Box::new(spec)));
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::NoSpace, Effect::None));
    assert_eq!(tree(machine.folder.path()), before);
}

/// Titles and arguments with everything that means something to GRUB.
#[tokio::test]
async fn grub_accepts_titles_and_arguments_of_any_kind() {
    let (machine, store) = (Machine::new(), Store::new());
    let mut spec = tried(&store, "a", 3);
    spec.title = "It's \"$root\" \\ {};|&<> `x`\n# ü".into();
    spec.extra_args = "a=\"b c\" d=$e;f g={h}|i".parse().unwrap();
    add(&loader(&machine), &store, spec).await;
    add(&loader(&machine), &store, store.unified("u", "k=\"l 'm\"")).await;
    let config = machine.esp().join(CONFIG);
    let check = std::process::Command::new("grub-script-check").arg(&config).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let menu = grub(&machine).menu().unwrap();
    assert_eq!(menu.titles[1], "It's \"$root\" \\ {};|&<> `x` # ü (1)");
    roll_back(&loader(&machine), &store, "a").await;
    let loaded = grub(&machine).boot().unwrap();
    assert_eq!(loaded.cmdline, "root=a \"a=b c\" d=$e;f g={h}|i");
}

/// spec: BW-620
#[tokio::test]
async fn one_changed_bit_in_any_boot_file_is_named_by_a_verification() {
    let (machine, _) = with(&["a"]).await;
    let loader = loader(&machine);
    assert!(loader.verify().await.unwrap().problems.is_empty());
    let config = tree(machine.folder.path()).into_keys().filter(|path| path.ends_with(CONFIG));
    let needed: Vec<_> = files(&machine).into_iter().chain(config).collect();
    let mut named = 0;
    for path in needed {
        let place = machine.folder.path().join(&path);
        let Ok(whole) = std::fs::read(&place) else { continue };
        let Some(middle) = whole.len().checked_div(2).filter(|_| !whole.is_empty()) else { continue };
        let mut damaged = whole.clone();
        damaged[middle] ^= 1;
        std::fs::write(&place, damaged).unwrap();
        let report = loader.verify().await.unwrap();
        let found: Vec<_> = report.problems.iter().map(|problem| problem.path.as_str()).collect();
        assert!(found.len() == 1 && path.ends_with(found[0]), "{path} was damaged: {report:?}");
        std::fs::write(&place, whole).unwrap();
        named += 1;
    }
    assert!(named >= 3, "kernel, initrd and configuration, but only {named} were there");
}
