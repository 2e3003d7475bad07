//! Images that carry an `OSTree` commit. Needs root, and skopeo for the export.

use std::path::Path;

use bootwright_core::model::ImageSummary;
use ostree_ext::container::{self, Config, ExportOpts, ImageReference, Transport};

use super::store::{Host, files};

/// A commit with folders, links, set-id bits and attributes.
fn source(host: &Host) {
    let tree = host.folder.path().join("tree");
    for folder in ["usr/bin", "usr/etc", "usr/lib/modules/6.1.0", "var", "sysroot"] {
        std::fs::create_dir_all(tree.join(folder)).unwrap();
    }
    std::fs::write(tree.join("usr/bin/tool"), "tool").unwrap();
    rustix::fs::setxattr(tree.join("usr/bin/tool"), "user.note", b"kept", rustix::fs::XattrFlags::empty())
        .unwrap();
    std::fs::write(tree.join("usr/bin/su"), "su").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(tree.join("usr/bin/su"), mode).unwrap();
    std::os::unix::fs::symlink("tool", tree.join("usr/bin/link")).unwrap();
    std::fs::write(tree.join("usr/etc/conf"), "default").unwrap();
    std::fs::write(tree.join("usr/lib/modules/6.1.0/vmlinuz"), vec![3; 300_000]).unwrap();
    std::os::unix::fs::symlink("sysroot/ostree", tree.join("ostree")).unwrap();
    host.ostree(&["commit", "--branch=os", &format!("--tree=dir={}", tree.display())]);
}

async fn export(host: &Host, to: &Path) {
    let repo = host.store().open().unwrap();
    let config = Config { labels: None, cmd: None };
    let to = ImageReference { transport: Transport::OciDir, name: to.display().to_string() };
    let options = ExportOpts::default();
    container::encapsulate(&repo, "os", &config, Some(options), &to).await.unwrap();
}

/// A layout with that commit, as an inspection tells of it.
pub async fn source_image(from: &Host) -> ImageSummary {
    source(from);
    let folder = from.folder.path().join("image");
    export(from, &folder).await;
    let reference = format!("oci:{}", folder.display()).parse().unwrap();
    bootwright_core::transport::inspect(&reference, None).await.unwrap()
}

/// The fetched image has the tree that it was made of.
pub fn is_as_it_was_committed(from: &Host, to: &Host, image: &ImageSummary) {
    to.ostree(&["fsck", "--quiet"]);
    let (tree, original) = (to.checkout(image), from.folder.path().join("original"));
    from.ostree(&["checkout", "os", original.to_str().unwrap()]);
    // The export adds /var/tmp.
    for part in ["usr", "sysroot"] {
        assert_eq!(files(&tree.join(part)), files(&original.join(part)), "{part}");
    }
    let commit = to.commit(image).unwrap();
    for path in
        ["/usr/bin/tool", "/usr/bin/su", "/usr/bin/link", "/usr/etc/conf", "/usr/lib/modules/6.1.0/vmlinuz"]
    {
        // Mode, owner, checksum of content and attributes.
        let (was, is) =
            (from.ostree(&["ls", "-C", "-X", "os", path]), to.ostree(&["ls", "-C", "-X", &commit, path]));
        assert_eq!(is, was, "{path}");
    }
}

/// Two repositories: the one that exports, and the one that imports.
#[tokio::test]
async fn an_encapsulated_commit_gives_the_tree_that_it_was_made_of() {
    let (from, to) = (Host::new(), Host::new());
    let image = source_image(&from).await;
    to.fetch(&image).await.unwrap();
    is_as_it_was_committed(&from, &to, &image);
}
