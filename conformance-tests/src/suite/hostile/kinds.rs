//! The layers, by what is wrong with them.

use tar::{EntryType, Header};

use super::{
    ESCAPE, Hostile,
    outside::{FOLDER, Outside, VICTIM},
    tar::Tar,
};

/// Links out of the tree: an absolute one, one that leads up, and one to the file itself.
const LINK: &str = "suite-link";
const UP: &str = "usr/suite-up";
const TO_VICTIM: &str = "usr/suite-victim";

/// Folders, a file and symbolic links that lead out of the tree: what the entries after them go through.
fn lower(outside: &Outside) -> Tar {
    Tar::new()
        .folder("usr")
        .file("usr/suite-file", b"f")
        .link(EntryType::Symlink, LINK, &outside.absolute())
        .link(EntryType::Symlink, UP, &outside.upward())
        .link(EntryType::Symlink, TO_VICTIM, &format!("{}/{VICTIM}", outside.absolute()))
}

/// Names that lead elsewhere.
pub fn names(outside: &Outside) -> Vec<Hostile> {
    let (up, within) = (format!("../../{ESCAPE}"), format!("usr/../../{ESCAPE}"));
    let absolute = format!("{}/{VICTIM}", outside.absolute());
    let upward = format!("{}/{VICTIM}", outside.upward());
    let long = |length: usize| {
        Tar::new().pax("path", format!("usr/{}", "n".repeat(length)).as_bytes()).file("usr/n", b"x")
    };
    vec![
        Tar::new().file(&up, b"x").is("a name that leads up"),
        Tar::new().file(&within, b"x").is("a name that leads up in the middle"),
        Tar::new().file(&upward, b"x").is("a name that leads up to a file of this machine"),
        Tar::new().file(&absolute, b"x").is("an absolute name"),
        Tar::new().pax("path", absolute.as_bytes()).file("usr/a", b"x").is("an absolute name in a record"),
        Tar::new().raw(b"usr/\xff\xfe", b'0', b"", b"x").is("a name that is not UTF-8"),
        long(255).is("255 bytes"),
        long(256).is("256 bytes"),
        Tar::new().link(EntryType::Symlink, "./", "etc").is("a symbolic link in the place of the root"),
        Tar::new().raw(b"usr/a", b'2', b"", b"").is("a symbolic link to nothing"),
    ]
}

/// What goes through links, or takes their place.
pub fn through_links(outside: &Outside) -> Vec<Hostile> {
    let file = |link: &str, name: &str| lower(outside).file(&format!("{link}/{name}"), b"x");
    let folder = |link: &str| lower(outside).folder(&format!("{link}/{FOLDER}"));
    vec![
        file(LINK, ESCAPE).is("a file through a symbolic link"),
        file(UP, ESCAPE).is("a file through a symbolic link that leads up"),
        file(LINK, VICTIM).is("a file over one through a symbolic link"),
        file(UP, VICTIM).is("a file over one through a symbolic link that leads up"),
        lower(outside).file(TO_VICTIM, b"x").is("a file in the place of a symbolic link"),
        lower(outside).mode(TO_VICTIM, 0o4777, b"").is("a mode in the place of a symbolic link"),
        lower(outside).folder(LINK).is("a folder in the place of a symbolic link"),
        folder(LINK).is("a folder through a symbolic link"),
        folder(UP).is("a folder through a symbolic link that leads up"),
        file("usr/suite-file", ESCAPE).is("a file through a file"),
    ]
}

/// Whiteouts and hard links.
pub fn references(outside: &Outside) -> Vec<Hostile> {
    let through = |name: &str| lower(outside).file(name, b"");
    let whiteout = |link: &str| through(&format!("{link}/.wh.{VICTIM}"));
    let opaque = |link: &str| through(&format!("{link}/{FOLDER}/.wh..wh..opq"));
    let hard = |target: &str| lower(outside).link(EntryType::Link, "usr/a", target);
    let [by_link, by_up] = [LINK, UP].map(|link| format!("{link}/{VICTIM}"));
    let [absolute, upward] = [outside.absolute(), outside.upward()].map(|path| format!("{path}/{VICTIM}"));
    vec![
        whiteout(LINK).is("a whiteout through a symbolic link"),
        whiteout(UP).is("a whiteout through a symbolic link that leads up"),
        through(&format!("{}/.wh.{VICTIM}", outside.upward())).is("a whiteout that leads up"),
        opaque(LINK).is("an opaque folder through a symbolic link"),
        opaque(UP).is("an opaque folder through a symbolic link that leads up"),
        through("usr/.wh.").is("a whiteout of nothing"),
        through("usr/.wh...").is("a whiteout of the parent"),
        hard(&by_link).is("a hard link through a symbolic link"),
        hard(&by_up).is("a hard link through a symbolic link that leads up"),
        hard(TO_VICTIM).file("usr/a", b"x").is("a file over a hard link to a symbolic link"),
        hard(&upward).is("a hard link that leads up"),
        hard(&upward).file("usr/a", b"x").is("a file over a hard link that leads up"),
        hard(&absolute).is("an absolute hard link"),
        hard(&absolute).file("usr/a", b"x").is("a file over an absolute hard link"),
        hard("usr").is("a hard link to a folder"),
        hard("usr/nothing").is("a hard link to nothing"),
        hard("usr/a").is("a hard link to itself"),
    ]
}

/// Headers and records that contradict themselves.
pub fn contents() -> Vec<Hostile> {
    let size = u64::MAX.to_string();
    vec![
        Tar::new().pax("size", b"512").file("usr/a", &[b'x'; 1024]).is("sizes that disagree"),
        Tar::new().pax("size", b"many").file("usr/a", b"x").is("a size that is no number"),
        Tar::new().append(endless(), b"x").is("a size that no disk has"),
        Tar::new().pax("size", size.as_bytes()).file("usr/a", b"").is("such a size in a record"),
        Tar::new().records(b"size=5\n").file("usr/a", b"x").is("records without length"),
        Tar::new().records(b"99 path=a\n").file("usr/a", b"x").is("records that are cut"),
        Tar::new().records(b"0 a=b\n").file("usr/a", b"x").is("records of no length"),
        Tar::new().raw(b"r", b'g', b"", b"10 path=a\n").file("usr/a", b"x").is("a name for all files"),
        Tar::new().raw(b"usr/f", b'5', b"", &[b'x'; 1024]).is("a folder with content"),
        Tar::new().raw(b"usr/f", b'2', b"a", &[b'x'; 1024]).is("a symbolic link with content"),
        Tar::new()
            .file("usr/a", b"1")
            .raw(b"usr/b", b'1', b"usr/a", &[b'x'; 1024])
            .is("a hard link with content"),
        Tar::new().file("usr/a", b"1").file("usr/a", b"2").is("a file twice"),
        Tar::new()
            .file("usr/a", b"1")
            .folder("usr/a")
            .file("usr/a/b", b"2")
            .is("a file that becomes a folder"),
        Tar::new().raw(b"usr/a", b'Z', b"", b"x").is("an unknown type"),
        Hostile { what: "no archive at all", tar: b"not a tar".repeat(200) },
        Hostile { what: "much behind the end", tar: vec![0; 4 << 20] },
    ]
}

fn endless() -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    let _ = header.set_path("usr/endless");
    header.set_mode(0o644);
    header.set_size(u64::MAX - 3);
    header
}

/// Files with holes, in each of GNU tar's ways to write them ("Storing Sparse Files").
pub fn sparse() -> Vec<Hostile> {
    let named: (&str, &[u8]) = ("GNU.sparse.name", b"usr/sparse");
    let v1: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1048576")];
    let v1 = || Tar::new().pax_all(&[&v1[..], &[named]].concat());
    let map = [&b"1\n0\n512\n"[..], &[0; 504], &[b'x'; 512]].concat();
    // Each says that another one follows, and holds nothing.
    let mut block = [0; 512];
    block[504] = 1;
    vec![
        Tar::new().raw(b"usr/sparse", b'S', b"", &[0; 512]).is("a sparse file without a map"),
        Tar::new().sparse("usr/sparse", &block.repeat(6000)).is("a map of empty blocks"),
        Tar::new()
            .pax_all(&[
                ("GNU.sparse.size", b"1048576"),
                ("GNU.sparse.numblocks", b"1"),
                ("GNU.sparse.offset", b"1024"),
                ("GNU.sparse.numbytes", b"4"),
            ])
            .file("usr/sparse", b"data")
            .is("a sparse file, version 0.0"),
        Tar::new()
            .pax_all(&[("GNU.sparse.size", b"1048576"), ("GNU.sparse.map", b"1024,4"), named])
            .file("usr/sparse.0/sparse", b"data")
            .is("a sparse file, version 0.1"),
        v1().file("usr/sparse.0/sparse", &map).is("a sparse file, version 1.0"),
        v1().file("usr/sparse.0/sparse", &[b'1'; 1 << 20]).is("a map without a line"),
    ]
}

/// Modes and files that only privileged programs may make.
pub fn privileged() -> Vec<Hostile> {
    let device = |name, kind, major, minor| Tar::new().device(name, kind, major, minor);
    vec![
        Tar::new().mode("usr/bin/suite-su", 0o6755, b"#!").is("a file that is setuid and setgid"),
        Tar::new().mode("usr/bin/suite-su", 0o177_777, b"#!").is("a mode with every bit"),
        device("usr/null", EntryType::Char, 1, 3).is("a character device"),
        device("usr/mem", EntryType::Char, 1, 1).is("the memory"),
        device("usr/disk", EntryType::Block, 8, 0).is("a disk"),
        // For overlayfs, that hides a file.
        device("usr/suite-gone", EntryType::Char, 0, 0).is("a device without number"),
        device("usr/odd", EntryType::Block, 0o7_777_777, 0o7_777_777)
            .is("a device whose numbers no kernel has"),
        Tar::new().raw(b"usr/pipe", b'6', b"", b"").is("a pipe"),
    ]
}

/// Attributes that mean something to the kernel, or to nobody.
pub fn attributes() -> Vec<Hostile> {
    let on_file = |name: &str, value: &[u8]| Tar::new().xattr(name, value).file("usr/a", b"x");
    let on_folder = |name: &str, value: &[u8]| Tar::new().xattr(name, value).folder("usr/o");
    vec![
        Tar::new().pax("SCHILY.xattr.capability", b"x").file("usr/a", b"x").is("an attribute without class"),
        on_file("security.capability", b"x").is("a malformed capability"),
        on_folder("trusted.overlay.redirect", b"/etc").is("a redirection"),
        on_folder("trusted.overlay.opaque", b"y").is("an opaque attribute"),
        on_folder("user.overlay.redirect", b"/etc").is("a redirection by anybody"),
        on_folder("user.overlay.opaque", b"y").is("an opaque attribute by anybody"),
        on_file("trusted.overlay.metacopy", b"").is("a file without content"),
        on_file("user.overlay.metacopy", b"").is("a file without content by anybody"),
        on_file("trusted.overlay.whiteout", b"y").is("an attribute that hides a file"),
        on_file("security.selinux", b"system_u:object_r:shadow_t:s0\0").is("a label"),
        on_file("security.selinux", b"no label").is("a label that is none"),
        on_file("security.ima", &[4, 4, 0, 0]).is("a measurement"),
        on_file("security.evm", &[3, 2, 4, 0]).is("a signature of attributes"),
        on_file("system.posix_acl_access", b"x").is("a malformed list of who may what"),
        on_file("nobody.knows", b"x").is("a class that no kernel has"),
        on_file(&format!("user.{}", "n".repeat(300)), b"x").is("a name of more than 255 bytes"),
        on_file("user.large", &[b'x'; 70_000]).is("more than 64 KiB in an attribute"),
        Tar::new()
            .xattr("user.note", b"x")
            .link(EntryType::Symlink, "usr/s", "a")
            .is("an attribute of anybody on a symbolic link"),
    ]
}
