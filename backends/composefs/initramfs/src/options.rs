//! The program's own arguments. The units pass few; the rest is for tests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where `sysroot.mount` mounts the physical root.
pub const SYSROOT: &str = "/sysroot";
const SCRATCH: &str = "/run/bootwright-composefs-root";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Mount the root.
    Mount(MountOptions),
    /// Say that the boot cannot go on for this reason, and fail.
    Refuse(String),
}

/// Where to mount what.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Where the physical root is mounted.
    pub sysroot: PathBuf,
    /// The kernel command line, if not the kernel's own.
    pub cmdline: Option<String>,
    /// Where the new root goes, if not in the place of the physical one.
    pub target: Option<PathBuf>,
    /// The folder to work in.
    pub scratch: PathBuf,
}

impl MountOptions {
    /// Whether this is a boot, not a test that leaves the physical root in its place.
    pub fn is_real(&self) -> bool {
        self.target.is_none()
    }

    /// Where the new root goes.
    pub fn target(&self) -> &Path {
        self.target.as_deref().unwrap_or(&self.sysroot)
    }
}

/// Reads the arguments (without the program's name). The error is a message.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Action, String> {
    let mut options =
        MountOptions { sysroot: SYSROOT.into(), cmdline: None, target: None, scratch: SCRATCH.into() };
    let mut args = args.into_iter();
    while let Some(name) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{} needs a value", name.display()));
        let text = |value: OsString| value.into_string().map_err(|v| format!("{} is not UTF-8", v.display()));
        match name.to_str() {
            Some("--sysroot") => options.sysroot = value()?.into(),
            Some("--target") => options.target = Some(value()?.into()),
            Some("--scratch") => options.scratch = value()?.into(),
            Some("--cmdline") => options.cmdline = Some(text(value()?)?),
            Some("--refuse") => return Ok(Action::Refuse(text(value()?)?)),
            _ => {
                return Err(format!(
                    "unknown argument {}: --sysroot, --target, --scratch, --cmdline and --refuse are known",
                    name.display()
                ));
            }
        }
    }
    Ok(Action::Mount(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(args: &[&str]) -> Result<Action, String> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn without_arguments_it_is_a_real_boot() {
        let Ok(Action::Mount(options)) = parse_all(&[]) else { panic!("not a mount") };
        assert!(options.is_real());
        assert_eq!(options.target(), Path::new("/sysroot"));
    }

    #[test]
    fn an_unknown_or_incomplete_argument_is_refused() {
        assert!(parse_all(&["--shell"]).is_err_and(|m| m.contains("--sysroot")));
        assert!(parse_all(&["--target"]).is_err_and(|m| m.contains("needs a value")));
    }

    #[test]
    fn a_refusal_carries_its_reason() {
        assert_eq!(parse_all(&["--refuse", "why"]), Ok(Action::Refuse("why".into())));
    }
}
