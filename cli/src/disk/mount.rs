//! Mounts that go away with the value that holds them, and the kernel's table of mounts.

use std::{
    ffi::CString,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use bootwright_core::{Error, ErrorKind, IoContext, Result, patience::again_while};
use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags},
};

/// How long a user of a mount may take to let go of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A mounted file system; dropping it unmounts, lazily if something still uses it.
#[derive(Debug)]
pub struct Mount {
    /// Empty once it is unmounted.
    at: Option<PathBuf>,
}

impl Mount {
    /// Mounts `source` of type `filesystem` at the folder `at`.
    ///
    /// # Errors
    /// `Unsupported` if the kernel does not know the type, else as the system says.
    pub fn new(source: &Path, at: &Path, filesystem: &str, flags: MountFlags, data: &str) -> Result<Self> {
        let what = || format!("mount {} ({filesystem}) at {}", source.display(), at.display());
        let data = CString::new(data).map_err(|_| Error::internal("mount options with a NUL"))?;
        match rustix::mount::mount(source, at, filesystem, flags, data.as_c_str()) {
            Ok(()) => Ok(Self { at: Some(at.to_owned()) }),
            Err(Errno::NODEV) => Err(Error::unsupported(format!("this kernel cannot mount {filesystem}"))),
            Err(error) => Err(error).context_io(what),
        }
    }

    /// Unmounts.
    ///
    /// # Errors
    /// `Busy` if something still holds a file of it open after two seconds; it is unmounted lazily then.
    pub fn unmount(mut self) -> Result<()> {
        let Some(at) = &self.at else { return Ok(()) };
        let what = || format!("unmount {}", at.display());
        let attempt = || rustix::mount::unmount(at, UnmountFlags::empty());
        // A program that another thread is just starting holds our open files until its exec closes them.
        match again_while(PATIENCE, |error| *error == Errno::BUSY, attempt) {
            Err(Errno::BUSY) => {
                Err(Error::new(ErrorKind::Busy, format!("{}: something still uses it", what())))
            }
            other => {
                other.context_io(what)?;
                self.at = None;
                Ok(())
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(at) = self.at.take()
            && let Err(error) = rustix::mount::unmount(&at, UnmountFlags::DETACH)
        {
            tracing::warn!(at = %at.display(), %error, "could not unmount");
        }
    }
}

/// One line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountLine {
    /// `major:minor` of the file system.
    pub device: String,
    /// Where it is mounted.
    pub at: PathBuf,
    /// File system type.
    pub filesystem: String,
    /// What is mounted: a device, for file systems on one.
    pub source: String,
}

/// Every mount that this thread can see.
///
/// # Errors
/// As reading `/proc` fails.
pub fn mounts() -> Result<Vec<MountLine>> {
    // The thread's own: a mount namespace belongs to a thread, and tests run in several.
    let path = "/proc/thread-self/mountinfo";
    let text = std::fs::read(path).context_io(|| format!("read {path}"))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Reads the table (proc(5), `/proc/pid/mountinfo`): fields before the lone `-` are ours, type and source follow it.
fn parse(text: &str) -> Vec<MountLine> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<MountLine> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ').skip(2);
    let mut back = back.split(' ');
    let device = front.next()?.to_owned();
    let at = unescape(front.nth(1)?);
    let filesystem = back.next()?.to_owned();
    Some(MountLine { device, at: PathBuf::from(at), filesystem, source: unescape(back.next()?) })
}

/// Space, tab, line feed and backslash stand as three octal digits behind a backslash.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        if let (Some(code), Some(tail)) = (code, after.get(3..)) {
            plain.push(char::from(code));
            rest = tail;
        } else {
            plain.push('\\');
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

/// The mount that `path` lies on: the longest mount point above it, and of several there the last.
///
/// # Errors
/// As looking at `path` or reading `/proc` fails.
pub fn mount_of(path: &Path) -> Result<MountLine> {
    let what = || format!("look at {}", path.display());
    let path = path.canonicalize().context_io(what)?;
    let depth = |line: &MountLine| line.at.as_os_str().as_bytes().len();
    let above = mounts()?.into_iter().filter(|line| path.starts_with(&line.at));
    above
        .max_by_key(depth)
        .ok_or_else(|| Error::internal(format!("nothing is mounted at {}", path.display())))
}

/// Whether `path` is a folder on which something is mounted.
pub fn is_mount_point(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| mount_of(&path).is_ok_and(|line| line.at == path))
}

/// `major:minor` of the device that a device node stands for.
///
/// # Errors
/// As looking at it fails.
pub fn device_number(node: &Path) -> Result<String> {
    let metadata = std::fs::metadata(node).context_io(|| format!("look at {}", node.display()))?;
    let number = metadata.rdev();
    Ok(format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let text = "36 35 98:0 /m /mnt\\0402 rw,noatime master:1 shared:3 - ext3 /dev/root\\134x rw,errors=continue\n";
        let line = parse(text).pop().unwrap();
        assert_eq!((line.device.as_str(), line.at.to_str().unwrap()), ("98:0", "/mnt 2"));
        assert_eq!((line.filesystem.as_str(), line.source.as_str()), ("ext3", "/dev/root\\x"));
    }

    #[test]
    fn broken_lines_are_passed_over() {
        assert!(parse("\n - \n1 2 3 - ext4\nrubbish\\9\n").is_empty());
    }

    #[test]
    fn the_root_is_a_mount_point_and_a_plain_folder_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_mount_point(Path::new("/")));
        assert!(!is_mount_point(folder.path()));
    }
}
