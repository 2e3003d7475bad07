//! What early boot of an image will do with a deployment, as the image's files tell.

use std::io::Read as _;

use bootwright_core::{
    error::{Error, IoContext, Result},
    image_kernel::ImageFiles,
};
use ostree_ext::glib::{KeyFile, KeyFileFlags};

use super::{IMAGE, library};

/// libostree's program for early boot.
const PROGRAM: &str = "usr/lib/ostree/ostree-prepare-root";
/// Its orders: a later file overrides keys of an earlier one (`otcore_load_config` in src/libotcore/otcore-prepare-root.c).
const ORDERS: [&str; 2] = ["usr/lib/ostree/prepare-root.conf", "etc/ostree/prepare-root.conf"];
/// No such file needs more.
const LONGEST_ORDERS: u64 = 64 << 10;

/// What early boot wants of composefs (`otcore_load_rootfs_config`, the same file).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Nothing.
    Off,
    /// An image, if there is one.
    IfThere,
    /// An image; files need not have digests.
    Image,
    /// An image with the digests of all files, which the kernel must check.
    Verified,
}

/// Early boot of an image.
#[derive(Debug, Clone, Copy)]
struct EarlyBoot {
    wish: Wish,
    /// Whether its program is built with composefs.
    able: bool,
}

/// Refuses an image that would not boot from this store, or would boot without what the store promises.
///
/// # Errors
/// `Unsupported` with what does not fit; `InvalidInput` if the image's orders make no sense.
pub(crate) fn check(files: &impl ImageFiles, verified_store: bool) -> Result<()> {
    let wish = wish(files)?;
    let able = matches!(wish, Wish::Image | Wish::Verified) && is_able(files)?;
    judge(EarlyBoot { wish, able }, verified_store, library::check)
}

fn judge(early: EarlyBoot, verified_store: bool, library: impl FnOnce() -> Result<()>) -> Result<()> {
    match (early.wish, verified_store) {
        (Wish::Off | Wish::IfThere, false) => Ok(()),
        (Wish::Image, false) | (Wish::Verified, true) if early.able => library(),
        (Wish::Image | Wish::Verified, _) if !early.able => Err(Error::unsupported(format!(
            "early boot of the image is told to use composefs, and its /{PROGRAM} is built without"
        ))
        .with_hint(format!("build the image with a libostree that has composefs, or without `enabled` in /{}", ORDERS[0]))),
        (Wish::Verified, _) => Err(Error::unsupported(
            "early boot of the image insists on files that the kernel verifies, and this store was made without",
        )
        .with_hint(format!(
            "install with --require-verity, or build the image with `enabled = maybe` in /{} and in its initramfs",
            ORDERS[0]
        ))),
        _ => Err(Error::unsupported("early boot of the image does not insist on files that the kernel verifies, as this system does")
            .with_hint(format!("build the image with `[composefs] enabled = verity` in /{} and in its initramfs", ORDERS[0]))),
    }
}

fn wish(files: &impl ImageFiles) -> Result<Wish> {
    let mut found = None;
    for path in ORDERS {
        if let Some(text) = text(files, path)? {
            found = enabled(path, &text)?.or(found);
        }
    }
    found.map_or(Ok(Wish::Off), |value| parse(&value))
}

fn text(files: &impl ImageFiles, path: &str) -> Result<Option<String>> {
    let Some(file) = files.open(path)? else { return Ok(None) };
    let mut text = String::new();
    file.reader
        .take(LONGEST_ORDERS)
        .read_to_string(&mut text)
        .context_io(|| format!("read /{path} of the image"))?;
    Ok(Some(text))
}

fn enabled(path: &str, text: &str) -> Result<Option<String>> {
    let orders = KeyFile::new();
    orders.load_from_data(text, KeyFileFlags::NONE).map_err(|error| {
        Error::invalid(format!("/{path} of the image cannot be read: early boot would fail"))
            .with_source(error)
    })?;
    Ok(orders.value("composefs", "enabled").ok().map(Into::into))
}

/// As libostree reads it (`_ostree_parse_tristate` in src/libotutil/ot-keyfile-utils.c, and the two words for verification).
fn parse(value: &str) -> Result<Wish> {
    match value {
        "signed" | "verity" => Ok(Wish::Verified),
        "yes" | "true" | "1" => Ok(Wish::Image),
        "maybe" => Ok(Wish::IfThere),
        "no" | "false" | "0" => Ok(Wish::Off),
        other => Err(Error::invalid(format!(
            "/{} of the image has `enabled = {other}` for composefs, which libostree does not know: early boot would fail",
            ORDERS[0]
        ))
        .with_hint("yes, no, maybe, verity and signed are known")),
    }
}

/// The image's name is in the program only where the code for it is (`otcore_mount_rootfs`).
fn is_able(files: &impl ImageFiles) -> Result<bool> {
    let Some(mut file) = files.open(PROGRAM)? else { return Ok(false) };
    let mut program = Vec::new();
    file.reader.read_to_end(&mut program).context_io(|| format!("read /{PROGRAM} of the image"))?;
    Ok(program.windows(IMAGE.len()).any(|window| window == IMAGE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use bootwright_core::error::ErrorKind;

    use super::*;

    const ABLE: bool = true;

    fn refusal(wish: Wish, able: bool, verified_store: bool) -> Option<String> {
        let found = judge(EarlyBoot { wish, able }, verified_store, || Ok(()));
        found.err().map(|error| {
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.hint().is_some());
            error.to_string()
        })
    }

    #[test]
    fn a_store_that_verifies_takes_only_images_that_insist_on_it() {
        assert_eq!(refusal(Wish::Verified, ABLE, true), None);
        for wish in [Wish::Off, Wish::IfThere, Wish::Image] {
            assert!(refusal(wish, ABLE, true).unwrap().contains("does not insist"), "{wish:?}");
        }
    }

    #[test]
    fn an_image_that_insists_is_refused_where_the_store_does_not_verify() {
        assert!(refusal(Wish::Verified, ABLE, false).unwrap().contains("made without"));
        for wish in [Wish::Off, Wish::IfThere, Wish::Image] {
            assert_eq!(refusal(wish, ABLE, false), None, "{wish:?}");
        }
    }

    #[test]
    fn an_image_that_its_own_program_cannot_boot_is_refused() {
        for verified in [false, true] {
            for wish in [Wish::Image, Wish::Verified] {
                assert!(refusal(wish, !ABLE, verified).unwrap().contains("built without"));
            }
        }
    }

    #[test]
    fn a_library_without_composefs_can_deploy_only_what_does_not_need_it() {
        let lacks = || Err(Error::unsupported("no composefs"));
        for (wish, verified) in [(Wish::Image, false), (Wish::Verified, true)] {
            let refused = judge(EarlyBoot { wish, able: true }, verified, lacks).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported);
        }
        judge(EarlyBoot { wish: Wish::IfThere, able: false }, false, lacks).unwrap();
    }

    #[test]
    fn orders_are_read_as_libostree_reads_them() {
        let read = |text: &str| enabled("x", text).unwrap().map(|value| parse(&value).unwrap());
        assert_eq!(read("[composefs]\nenabled = verity\n"), Some(Wish::Verified));
        assert_eq!(
            read("# c\n[sysroot]\nreadonly=true\n[composefs]\nenabled=signed\n"),
            Some(Wish::Verified)
        );
        assert_eq!(read("[composefs]\nenabled=true\n"), Some(Wish::Image));
        assert_eq!(read("[composefs]\nenabled=maybe\n"), Some(Wish::IfThere));
        assert_eq!(read("[sysroot]\nenabled=verity\n"), None);
        assert!(enabled("x", "enabled = yes\n").is_err());
        assert!(parse("perhaps").is_err());
    }
}
