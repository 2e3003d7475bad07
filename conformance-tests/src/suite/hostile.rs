//! Layers that are malformed, odd, or mean harm: what a registry might send.

mod kinds;
mod outside;
mod tar;

use ::tar::Header;

pub use self::outside::Outside;
use self::tar::Tar;

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

/// All of them. Those that try to leave the tree lead to `outside`.
pub fn all(outside: &Outside) -> Vec<Hostile> {
    [
        kinds::names(outside),
        kinds::through_links(outside),
        kinds::references(outside),
        kinds::contents(),
        kinds::sparse(),
        kinds::privileged(),
        kinds::attributes(),
    ]
    .concat()
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

/// Where the files with attributes are.
const WITH_ATTRIBUTES: &str = "usr/lib/suite-attributes";
/// A file in a folder with attributes that a lower layer has.
pub const BELOW_ATTRIBUTES: &str = "usr/lib/suite-attributes/opaque/lower";

/// Attributes by which overlayfs shows other content, another file, or none; `user.` is for mounts of ordinary users
/// (the kernel's documentation, "Overlay Filesystem").
const ON_FILES: [(&str, &[u8]); 8] = [
    ("redirect", b"/usr/lib/suite-attributes/decoy"),
    ("redirect", b"../../../../../../etc/passwd"),
    ("metacopy", b""),
    ("metacopy", b"\0\x24\0\x01aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
    ("origin", b"x"),
    ("whiteout", b"y"),
    ("protattr", b"i"),
    ("overlay.redirect", b"/usr/lib/suite-attributes/decoy"),
];
const ON_FOLDERS: [(&str, &[u8]); 4] =
    [("opaque", b"y"), ("opaque", b"x"), ("redirect", b"/usr/lib/suite-attributes/other"), ("impure", b"y")];
const CLASSES: [&str; 2] = ["trusted", "user"];

/// A name for each file with an attribute, and its content: small ones, which a store may keep elsewhere than large ones, and large ones.
pub fn with_attributes() -> Vec<(String, String)> {
    let numbers = 0..CLASSES.len() * ON_FILES.len();
    let name =
        |size: usize, number: usize| (format!("{WITH_ATTRIBUTES}/{size}-{number}"), "own".repeat(size));
    numbers.flat_map(|number| [name(1, number), name(1000, number)]).collect()
}

/// Those files, each with redirection and another attribute, in a folder that would hide what is below it.
pub fn overlay_attributes() -> Vec<u8> {
    let mut tar = Tar::new().file(&format!("{WITH_ATTRIBUTES}/decoy"), b"decoy");
    let mut files = with_attributes().into_iter();
    for class in CLASSES {
        let attribute = |name: &str| format!("SCHILY.xattr.{class}.overlay.{name}");
        for (name, value) in ON_FILES {
            let (to, name) = (attribute("redirect"), attribute(name));
            let records: [(&str, &[u8]); 2] = [(&to, ON_FILES[0].1), (&name, value)];
            for (path, content) in files.by_ref().take(2) {
                tar = tar.pax_all(&records).file(&path, content.as_bytes());
            }
        }
        for (name, value) in ON_FOLDERS {
            tar = tar.pax(&attribute(name), value).folder(&format!("{WITH_ATTRIBUTES}/opaque"));
        }
    }
    tar.is("attributes of overlayfs").tar
}
