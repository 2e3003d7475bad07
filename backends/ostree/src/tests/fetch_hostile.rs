//! Layers that are malformed or mean harm. Needs root, as everything that writes into a repository of this kind.

use bootwright_core::error::ErrorKind;

use super::{
    layout::Layer,
    store::{Host, files},
};

/// Sizes of which PAX and ustar say different things: some readers would see the file inside, others would not.
fn two_sizes() -> Layer {
    Layer::new().pax(&[("size", b"512")]).file("usr/a", &[b'x'; 1024])
}

fn lower() -> Layer {
    Layer::new()
        .folder("usr", 0o755)
        .file("usr/file", b"f")
        .symlink("link", "/etc")
        .symlink("usr/up", "../..")
}

/// spec: BW-314
#[tokio::test]
async fn hostile_layers_are_invalid_and_write_nothing_outside() {
    let cases: Vec<(&str, Layer)> = vec![
        ("a name that leads up", Layer::new().raw(b"../../escape", b'0', b"", b"x")),
        ("a name that leads up in the middle", Layer::new().raw(b"usr/../../escape", b'0', b"", b"x")),
        ("an absolute name", Layer::new().raw(b"/tmp/escape", b'0', b"", b"x")),
        ("an absolute name in PAX", Layer::new().pax(&[("path", b"/tmp/escape")]).file("usr/a", b"x")),
        ("a name that is not UTF-8", Layer::new().raw(b"usr/\xff", b'0', b"", b"x")),
        ("a file through a symbolic link", Layer::new().file("link/passwd", b"x")),
        ("a folder through a symbolic link", Layer::new().folder("link/sub", 0o755)),
        ("a file through a file", Layer::new().file("usr/file/x", b"x")),
        ("a whiteout through a symbolic link", Layer::new().file("link/.wh.passwd", b"")),
        ("an opaque folder through a symbolic link", Layer::new().file("link/.wh..wh..opq", b"")),
        ("a whiteout of nothing", Layer::new().file("usr/.wh.", b"")),
        ("a whiteout of the parent", Layer::new().file("usr/.wh...", b"")),
        ("a hard link through a symbolic link", Layer::new().raw(b"usr/a", b'1', b"link/passwd", b"")),
        ("a hard link that leads up", Layer::new().raw(b"usr/a", b'1', b"../../etc/passwd", b"")),
        ("a hard link to a folder", Layer::new().raw(b"usr/a", b'1', b"usr", b"")),
        ("a hard link to nothing", Layer::new().raw(b"usr/a", b'1', b"usr/nothing", b"")),
        ("a file in the place of the root", Layer::new().raw(b"./", b'2', b"etc", b"")),
        ("a symbolic link to nothing", Layer::new().raw(b"usr/a", b'2', b"", b"")),
        ("sizes that disagree", two_sizes()),
        ("a size that is no number", Layer::new().pax(&[("size", b"many")]).file("usr/a", b"x")),
        ("PAX records without length", Layer::new().raw(b"p", b'x', b"", b"size=5\n").file("usr/a", b"x")),
        ("PAX records that are cut", Layer::new().raw(b"p", b'x', b"", b"99 path=a\n").file("usr/a", b"x")),
        ("PAX records of no length", Layer::new().raw(b"p", b'x', b"", b"0 a=b\n").file("usr/a", b"x")),
        ("a name for all files", Layer::new().raw(b"p", b'g', b"", b"10 path=a\n").file("usr/a", b"x")),
        ("an attribute without class", Layer::new().xattr("capability", b"x").file("usr/a", b"x")),
        ("a capability that is none", Layer::new().xattr("security.capability", b"x").file("usr/a", b"x")),
        ("a class that no kernel has", Layer::new().xattr("nobody.knows", b"x").file("usr/a", b"x")),
        ("too much in an attribute", Layer::new().xattr("user.large", &[b'x'; 70_000]).file("usr/a", b"x")),
        ("an attribute of anybody on a link", Layer::new().xattr("user.note", b"x").symlink("usr/s", "a")),
        ("an unknown type", Layer::new().raw(b"usr/a", b'Z', b"", b"x")),
    ];
    for (what, layer) in cases {
        let host = Host::new();
        let image = host.image("v1", [lower(), layer]);
        let before = files(host.folder.path());
        let error = host.fetch(&image).await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}: {error}");
        assert!(host.commit(&image).is_none(), "{what}");
        let new = files(host.folder.path());
        let outside = new.difference(&before).find(|path| !path.starts_with("sysroot/ostree/repo/"));
        assert_eq!(outside, None, "{what}");
        host.ostree(&["fsck", "--quiet"]);
    }
}

/// spec: BW-302
#[tokio::test]
async fn a_tar_that_is_cut_in_the_middle_is_invalid() {
    let whole = Layer::new().file("usr/a", &[1; 5000]).tar();
    for length in [700, 512 + 3000] {
        let host = Host::new();
        let image = super::layout::write(&host.images("v1"), "v1", &[whole[..length].to_vec()]);
        let error = host.fetch(&image).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{length}: {error}");
        assert!(host.refs().is_empty());
    }
}

/// Made by hand or by careless tools, but harmless.
#[tokio::test]
async fn harmless_oddities_are_accepted() {
    let host = Host::new();
    let layer = Layer::new()
        .raw(b"./", b'5', b"", b"")
        .raw(b"usr//./bin/", b'5', b"", b"")
        .raw(b"usr/bin/a", b'7', b"", b"contiguous")
        .raw(b"usr/bin/out", b'2', b"../../../../etc/passwd", b"")
        .file("usr/.wh.never-there", b"")
        .file(".wh..wh.plnk/1.2", b"")
        .pax(&[("comment", b"anything"), ("LIBARCHIVE.creationtime", b"1")])
        .file("usr/bin/b", b"b");
    let mut tar = layer.tar();
    tar.truncate(tar.len() - 1024); // without the marks of its end
    let image = super::layout::write(&host.images("v1"), "v1", &[tar]);
    let tree = host.fetched(&image).await;
    assert_eq!(std::fs::read(tree.join("usr/bin/a")).unwrap(), b"contiguous");
    assert_eq!(
        files(&tree.join("usr")).into_iter().collect::<Vec<_>>(),
        ["bin", "bin/a", "bin/b", "bin/out"]
    );
}

/// A deployment may be below an overlay, as it is with verified reads.
/// spec: BW-324
#[tokio::test]
async fn attributes_of_overlayfs_and_labels_of_another_machine_are_dropped_and_others_kept() {
    let host = Host::new();
    let foreign = [
        ("trusted.overlay.redirect", "/etc"),
        ("trusted.overlay.metacopy", ""),
        ("user.overlay.opaque", "y"),
        ("security.selinux", "system_u:object_r:shadow_t:s0"),
    ];
    let named: Vec<_> = foreign.iter().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
    let mut records: Vec<_> =
        named.iter().map(String::as_str).zip(foreign.iter().map(|(_, value)| value.as_bytes())).collect();
    records.push(("SCHILY.xattr.user.note", b"kept"));
    let layer = Layer::new().pax(&records).file("usr/a", b"own").pax(&records).folder("usr/b", 0o755);
    let image = host.image("v1", [lower(), layer]);
    let tree = host.fetched(&image).await;
    assert_eq!(std::fs::read(tree.join("usr/a")).unwrap(), b"own");
    for path in ["usr/a", "usr/b"] {
        let mut value = [0; 256];
        for (name, text) in foreign {
            let found = rustix::fs::getxattr(tree.join(path), name, &mut value).ok();
            // A machine with a policy gives files labels of its own.
            let own =
                name == "security.selinux" && found.is_some_and(|length| &value[..length] != text.as_bytes());
            assert!(found.is_none() || own, "{path}: {name}");
        }
        let length = rustix::fs::getxattr(tree.join(path), "user.note", &mut value).unwrap();
        assert_eq!(&value[..length], b"kept", "{path}");
    }
}
