//! The composefs project's own program reads a repository of ours. Needs root, and the program that the variable `CFSCTL` names.

use bootwright_core::process::Tool;

use super::{image::Image, support::Host};

/// What it says of the repository, and of the images in it; an error if it finds something wrong.
fn asked(host: &Host) -> Result<String, bootwright_core::Error> {
    let program = std::env::var("CFSCTL").expect("the variable CFSCTL names the program");
    let repo = host.path("composefs").display().to_string();
    let ask = |what: &[&str]| {
        let arguments = ["--repo", &repo].into_iter().chain(what.iter().copied());
        Tool::new(&program).args(arguments).run_blocking().map(|output| output.text())
    };
    Ok(ask(&["fsck"])? + &ask(&["oci", "fsck"])?)
}

/// spec: BW-319
#[tokio::test]
#[ignore = "needs cfsctl; `cargo xtask test` builds it"]
async fn cfsctl_finds_nothing_wrong_and_a_byte_that_changed() {
    let host = Host::initialized().await;
    let first = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    host.deploy(&host.image("v2", &Image::bootable("2")), Some(&first.id)).await;
    asked(&host).unwrap();
    let objects = super::support::snapshot(&host.path("composefs/objects"));
    let (path, _) = objects.into_iter().next().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[0] ^= 1;
    // Sealed by fs-verity, where there is any: replaced, not written to.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    asked(&host).unwrap_err();
}
