//! Layers that are malformed, odd, or mean harm: what a registry might send.

use tar::{Builder, EntryType, Header};

/// A part of the name of everything that must never be written.
pub const ESCAPE: &str = "bootwright-suite-escape";

/// One layer.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What is wrong with it.
    pub what: &'static str,
    /// The tar archive.
    pub tar: Vec<u8>,
}

/// A tar archive in which names are written as they are.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry; what does not fit into a header is cut off.
    fn raw(self, name: &[u8], kind: u8, link: &[u8], content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let bytes = header.as_mut_bytes();
        for (at, byte) in (0..100).zip(name).chain((157..257).zip(link)) {
            bytes[at] = *byte;
        }
        bytes[156] = kind;
        self.append(header, content)
    }

    fn append(mut self, mut header: Header, content: &[u8]) -> Self {
        header.set_cksum();
        // Into memory: there is nothing that can fail.
        let _ = self.0.append(&header, content);
        self
    }

    fn file(self, name: &str, content: &[u8]) -> Self {
        self.raw(name.as_bytes(), b'0', b"", content)
    }

    fn folder(self, name: &str) -> Self {
        self.raw(name.as_bytes(), b'5', b"", b"")
    }

    fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
        self.raw(name.as_bytes(), kind.as_byte(), target.as_bytes(), b"")
    }

    /// A record for the entry that follows.
    fn pax(mut self, key: &str, value: &[u8]) -> Self {
        let _ = self.0.append_pax_extensions([(key, value)]);
        self
    }

    /// Bytes in the place of records.
    fn records(self, bytes: &[u8]) -> Self {
        self.raw(b"records", b'x', b"", bytes)
    }

    /// Folders, a file and symbolic links that lead out of the tree: what the entries after them go through.
    fn lower() -> Self {
        Self::new()
            .folder("usr")
            .file("usr/suite-file", b"f")
            .link(EntryType::Symlink, "suite-link", "/tmp")
            .link(EntryType::Symlink, "usr/suite-up", "../..")
    }

    fn is(self, what: &'static str) -> Hostile {
        Hostile { what, tar: self.0.into_inner().unwrap_or_default() }
    }
}

/// Names that lead elsewhere.
fn names() -> Vec<Hostile> {
    let (up, within) = (format!("../../{ESCAPE}"), format!("usr/../../{ESCAPE}"));
    let absolute = format!("/tmp/{ESCAPE}");
    let through = |link: &str, name: &str| Tar::lower().file(&format!("{link}/{name}"), b"x");
    vec![
        Tar::new().file(&up, b"x").is("a name that leads up"),
        Tar::new().file(&within, b"x").is("a name that leads up in the middle"),
        Tar::new().file(&absolute, b"x").is("an absolute name"),
        Tar::new().pax("path", absolute.as_bytes()).file("usr/a", b"x").is("an absolute name in a record"),
        Tar::new().raw(b"usr/\xff\xfe", b'0', b"", b"x").is("a name that is not UTF-8"),
        Tar::new()
            .pax("path", format!("usr/{}", "n".repeat(255)).as_bytes())
            .file("usr/n", b"x")
            .is("255 bytes"),
        Tar::new()
            .pax("path", format!("usr/{}", "n".repeat(256)).as_bytes())
            .file("usr/n", b"x")
            .is("256 bytes"),
        through("suite-link", ESCAPE).is("a file through a symbolic link"),
        through("usr/suite-up", ESCAPE).is("a file through a symbolic link that leads up"),
        Tar::lower().folder(&format!("suite-link/{ESCAPE}")).is("a folder through a symbolic link"),
        through("usr/suite-file", ESCAPE).is("a file through a file"),
        Tar::new().link(EntryType::Symlink, "./", "etc").is("a symbolic link in the place of the root"),
        Tar::new().raw(b"usr/a", b'2', b"", b"").is("a symbolic link to nothing"),
    ]
}

/// Whiteouts and hard links.
fn references() -> Vec<Hostile> {
    let through = |name: &str| Tar::lower().file(name, b"");
    let hard = |target: &str| Tar::lower().link(EntryType::Link, "usr/a", target);
    vec![
        through("suite-link/.wh.passwd").is("a whiteout through a symbolic link"),
        through("suite-link/.wh..wh..opq").is("an opaque folder through a symbolic link"),
        through("usr/.wh.").is("a whiteout of nothing"),
        through("usr/.wh...").is("a whiteout of the parent"),
        hard("suite-link/passwd").is("a hard link through a symbolic link"),
        hard("../../etc/passwd").is("a hard link that leads up"),
        hard("/etc/passwd").is("an absolute hard link"),
        hard("usr").is("a hard link to a folder"),
        hard("usr/nothing").is("a hard link to nothing"),
        hard("usr/a").is("a hard link to itself"),
    ]
}

/// Headers and records that contradict themselves, and what only privileged programs may make.
fn contents() -> Vec<Hostile> {
    let mut endless = Header::new_gnu();
    endless.set_entry_type(EntryType::Regular);
    let _ = endless.set_path("usr/endless");
    endless.set_mode(0o644);
    endless.set_size(u64::MAX - 3);
    vec![
        Tar::new().pax("size", b"512").file("usr/a", &[b'x'; 1024]).is("sizes that disagree"),
        Tar::new().pax("size", b"many").file("usr/a", b"x").is("a size that is no number"),
        Tar::new().append(endless, b"x").is("a size that no disk has"),
        Tar::new().records(b"size=5\n").file("usr/a", b"x").is("records without length"),
        Tar::new().records(b"99 path=a\n").file("usr/a", b"x").is("records that are cut"),
        Tar::new().records(b"0 a=b\n").file("usr/a", b"x").is("records of no length"),
        Tar::new().raw(b"r", b'g', b"", b"10 path=a\n").file("usr/a", b"x").is("a name for all files"),
        Tar::new().pax("SCHILY.xattr.capability", b"x").file("usr/a", b"x").is("an attribute without class"),
        Tar::new()
            .pax("SCHILY.xattr.security.capability", b"x")
            .file("usr/a", b"x")
            .is("a malformed capability"),
        Tar::new().pax("SCHILY.xattr.trusted.overlay.redirect", b"/etc").folder("usr/o").is("a redirection"),
        Tar::new().pax("SCHILY.xattr.trusted.overlay.opaque", b"y").folder("usr/o").is("an opaque attribute"),
        Tar::new().raw(b"usr/null", b'3', b"", b"").is("a character device"),
        Tar::new().raw(b"usr/sparse", b'S', b"", &[0; 512]).is("a sparse file without a map"),
        Tar::new().file("usr/a", b"1").file("usr/a", b"2").is("a file twice"),
        Tar::new()
            .file("usr/a", b"1")
            .folder("usr/a")
            .file("usr/a/b", b"2")
            .is("a file that becomes a folder"),
        Tar::new().raw(b"usr/a", b'Z', b"", b"x").is("an unknown type"),
        Hostile { what: "no archive at all", tar: b"not a tar".repeat(200) },
    ]
}

/// The file in [`no_folders`].
pub const IN_NO_FOLDER: &str = "usr/lib/suite-left-out/deeper/file";

/// A file whose folders are in no layer, and removals from such.
pub fn no_folders() -> Vec<u8> {
    let tar = Tar::new().file("usr/suite-nowhere/.wh.x", b"").file("usr/suite-nowhere/a/.wh..wh..opq", b"");
    tar.file(IN_NO_FOLDER, b"x").is("folders left out").tar
}

/// A file that a lower layer has as well, with its whiteout after it.
pub const WHITED_OUT: &str = "usr/lib/suite-over/file";
/// A file in a folder that is made opaque after it.
pub const IN_OPAQUE: &str = "usr/lib/suite-opaque/own";
/// A file of a lower layer in that folder.
pub const BELOW_OPAQUE: &str = "usr/lib/suite-opaque/lower";

/// Whiteouts of lower files, after files of the same layer that they would hide if they could.
pub fn late_whiteouts() -> Vec<u8> {
    let tar = Tar::new().file(WHITED_OUT, b"upper").file("usr/lib/suite-over/.wh.file", b"");
    tar.file(IN_OPAQUE, b"upper").file("usr/lib/suite-opaque/.wh..wh..opq", b"").is("late whiteouts").tar
}

/// A file of 300 MB that compresses to less than a thousandth: more than the disks of the loop tier hold.
pub fn bomb() -> Vec<u8> {
    const SIZE: usize = 300 << 20;
    let mut header = Header::new_ustar();
    let _ = header.set_path("usr/lib/bomb");
    header.set_mode(0o644);
    header.set_size(SIZE as u64);
    header.set_cksum();
    [&header.as_bytes()[..], &vec![0; SIZE + 1024]].concat()
}

/// So many small files, each with a content of its own that is too long for a store to put it anywhere but into a file.
pub fn many_files(count: u64) -> Vec<u8> {
    let add = |tar: Tar, number| tar.file(&name_of_many(number), one_of_many(number).as_bytes());
    (0..count).fold(Tar::new(), add).is("many files").tar
}

/// The path of one of [`many_files`].
pub fn name_of_many(number: u64) -> String {
    format!("usr/lib/many/{number}")
}

/// What is in it.
pub fn one_of_many(number: u64) -> String {
    format!("{number:0512}")
}

/// All of them.
pub fn all() -> Vec<Hostile> {
    [names(), references(), contents()].concat()
}
