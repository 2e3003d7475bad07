//! What attributes and modes in a layer become: read from the image, and as the kernel shows it. Needs root, for a mount.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    process::{Command, Output},
};

use bootwright_core::model::Digest;
use composefs::fsverity::Sha256HashValue;

use super::{image::big, support::Host};
use crate::{repo, tree::read_image};

/// `cap_net_raw=ep` of version 2 (linux/capability.h).
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// What overlayfs takes for another file, no content, or no file; composefs images say with the first two where content is.
const ATTRIBUTES: [(&str, &[u8]); 7] = [
    ("trusted.overlay.redirect", b"/usr/decoy"),
    ("trusted.overlay.metacopy", b""),
    ("trusted.overlay.whiteout", b"y"),
    ("user.overlay.redirect", b"/usr/decoy"),
    ("user.overlay.metacopy", b""),
    ("security.selinux", b"system_u:object_r:shadow_t:s0"),
    ("security.ima", &[4, 4, 0, 0]),
];
/// Mounts the image as early boot does, and shows owner's rights and content of all files in the folder.
const SHOW: &str = "mount -t erofs -o ro,loop \"$IMAGE\" \"$LOWER\"
    mount -t overlay -o \"ro,metacopy=on,redirect_dir=on,lowerdir=$LOWER::$OBJECTS\" overlay \"$TREE\"
    cd \"$TREE/usr/own\"; for file in *; do echo \"$file $(stat -c %a \"$file\") $(sha256sum < \"$file\")\"; done";

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).unwrap();
}

/// A small and a large file with each attribute and redirected, an opaque folder of the layer below, and two files with privileges.
fn layer() -> (Vec<u8>, BTreeSet<String>) {
    let (mut tar, mut expected) = (tar::Builder::new(Vec::new()), BTreeSet::new());
    append(&mut tar, "usr/decoy", 0o644, &big("decoy"));
    let mut own = |name: String, mode, content: &[u8], attributes: &[(&str, &[u8])]| {
        let named = attributes.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value));
        let named: Vec<_> = named.collect();
        tar.append_pax_extensions(named.iter().map(|(name, value)| (name.as_str(), *value))).unwrap();
        append(&mut tar, &format!("usr/own/{name}"), mode, content);
        expected.insert(format!("{name} {mode:o} {}  -", Digest::of(content).hex()));
    };
    for attribute in ATTRIBUTES {
        own(format!("{}-small", attribute.0), 0o644, b"small", &[ATTRIBUTES[0], attribute]);
        own(format!("{}-large", attribute.0), 0o644, &big("large"), &[ATTRIBUTES[0], attribute]);
    }
    own("set-id".to_owned(), 0o6755, b"#!", &[]);
    own("capable".to_owned(), 0o755, &big("ping"), &[("security.capability", CAPABILITY)]);
    (tar.into_inner().unwrap(), expected)
}

fn shown(host: &Host, root: &str) -> Output {
    let at = |name: &str| {
        let path = host.path(&format!("../{name}"));
        std::fs::create_dir(&path).unwrap();
        path
    };
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-euc", SHOW])
        .envs([("LOWER", at("lower")), ("TREE", at("tree"))])
        .envs(
            [("IMAGE", format!("composefs/images/{root}")), ("OBJECTS", "composefs/objects".to_owned())]
                .map(|(name, path)| (name, host.path(&path).canonicalize().unwrap())),
        )
        .output()
        .unwrap()
}

fn attributes_in_image(host: &Host, root: &str) -> BTreeSet<String> {
    let repo = repo::open::<Sha256HashValue>(&host.context()).unwrap();
    let tree = read_image(&repo, root).unwrap();
    let names = tree.leaves.iter().flat_map(|leaf| leaf.stat.xattrs.keys());
    names.map(|name| AsRef::<OsStr>::as_ref(name).to_string_lossy().into_owned()).collect()
}

/// spec: BW-325
#[tokio::test]
async fn files_are_as_their_layer_has_them_whatever_attributes_it_gives_them() {
    let host = Host::initialized().await;
    let (tar, expected) = layer();
    let deployment = host.deploy(&host.with_layer(&tar, &Digest::of(&tar)), None).await;
    let root = deployment.id.as_str();
    assert_eq!(attributes_in_image(&host, root), ["security.capability".to_owned()].into());
    let output = shown(&host, root);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().map(str::to_owned).collect::<BTreeSet<_>>(), expected);
}
