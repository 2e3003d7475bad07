//! What becomes of an image whose early boot wants composefs. Needs root. Where libostree has composefs, its part is tested in a virtual machine.

use bootwright_core::{
    context::BackendContext,
    error::{Error, ErrorKind},
    registry::Verity,
};

use super::support::{Files, Host, spec, version};
use crate::verified::library;

const ORDERS: &str = "usr/lib/ostree/prepare-root.conf";

/// An image that tells its early boot this; its program is built with composefs, or is not.
fn image(enabled: &str, program: &[u8]) -> Files {
    let mut files = version("1");
    files.push((ORDERS.to_owned(), format!("[composefs]\nenabled = {enabled}\n").into_bytes()));
    files.push(("usr/lib/ostree/ostree-prepare-root".to_owned(), program.to_vec()));
    files
}

const ABLE: &[u8] = b"\x7fELF .ostree.cfs";

async fn refusal(files: &Files) -> Error {
    let host = Host::initialized().await;
    let image = host.image(files);
    let refused = host.backend().prepare(&spec(&image, None)).await.unwrap_err();
    assert!(host.ids().await.is_empty(), "there is a deployment all the same");
    refused
}

/// spec: BW-323
#[tokio::test]
async fn an_image_that_insists_on_verified_files_is_refused_by_a_store_without() {
    let refused = refusal(&image("verity", ABLE)).await;
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.hint().unwrap().contains("--require-verity"), "{refused}");
}

/// spec: BW-323
#[tokio::test]
async fn an_image_whose_own_program_cannot_do_what_it_is_told_is_refused() {
    let refused = refusal(&image("yes", b"\x7fELF")).await;
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("built without"), "{refused}");
}

/// spec: BW-323
#[tokio::test]
async fn an_image_that_takes_what_there_is_is_deployed() {
    for enabled in ["no", "maybe"] {
        let host = Host::initialized().await;
        let prepared = host.prepare(&host.image(&image(enabled, ABLE)), None).await;
        assert!(!prepared.verified);
    }
}

/// spec: BW-323
#[tokio::test]
async fn orders_that_libostree_would_not_understand_are_refused() {
    let refused = refusal(&image("perhaps", ABLE)).await;
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("perhaps"), "{refused}");
}

/// What cannot be shown where libostree has composefs.
mod where_libostree_lacks_composefs {
    use super::*;

    const BUILT_WITH: &str = "libostree here is built with composefs";

    /// spec: BW-323
    #[tokio::test]
    #[ignore = "needs a libostree without composefs; `cargo xtask test` asks for it"]
    async fn an_image_that_needs_what_libostree_here_cannot_make_is_refused() {
        library::check().expect_err(BUILT_WITH);
        let refused = refusal(&image("yes", ABLE)).await;
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.to_string().contains("libostree on this host"), "{refused}");
    }

    /// spec: BW-307
    #[tokio::test]
    #[ignore = "needs a libostree without composefs; `cargo xtask test` asks for it"]
    async fn a_verified_store_that_cannot_be_is_refused_before_anything_is_written() {
        library::check().expect_err(BUILT_WITH);
        let host = Host::blank();
        let demanding = BackendContext { verity: Verity::Required, ..host.context() };
        let refused = Host::open(demanding).initialize().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert!(refused.hint().unwrap().contains("--allow-missing-verity"));
        assert_eq!(std::fs::read_dir(host.path("")).unwrap().count(), 0, "something was written");
    }
}
