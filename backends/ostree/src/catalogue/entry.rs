//! One deployment in the catalogue, as plain data, and the links by which early boot finds one.

use bootwright_core::{
    error::{Error, Result},
    model::{KernelArg, KernelCmdline},
};
use ostree_ext::ostree;

/// The kernel argument that names a deployment.
const KEY: &str = "ostree";

/// A deployment that libostree knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Commit.
    pub commit: String,
    /// Its folder, relative to the physical root.
    pub folder: String,
    /// The link by which early boot finds it.
    pub link: Option<Link>,
    /// Whether somebody told libostree to keep it (`ostree admin pin`).
    pub pinned: bool,
}

impl Entry {
    /// What libostree says.
    pub fn of(sysroot: &ostree::Sysroot, found: &ostree::Deployment) -> Self {
        let options = found.bootconfig().and_then(|config| config.get("options"));
        let cmdline = KernelCmdline::parse_lossy(options.as_deref().unwrap_or_default());
        Self {
            commit: found.csum().into(),
            folder: sysroot.deployment_dirpath(found).into(),
            link: Link::of(&cmdline),
            pinned: found.is_pinned(),
        }
    }
}

/// A link, relative to the physical root: `ostree/boot.<slot>/<stateroot>/<kernel>/<serial>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its slot.
    pub slot: u8,
    path: String,
}

impl Link {
    /// The first one in a slot for this kernel.
    pub fn first(slot: u8, stateroot: &str, kernel: &str) -> Self {
        Self { slot, path: format!("ostree/boot.{slot}/{stateroot}/{kernel}/0") }
    }

    /// The one that a kernel command line names; early boot takes the first.
    pub fn of(cmdline: &KernelCmdline) -> Option<Self> {
        Self::parse(cmdline.values(KEY).next()?)
    }

    fn parse(value: &str) -> Option<Self> {
        let path = value.strip_prefix('/')?;
        let mut parts = path.split('/');
        let slot = match (parts.next()?, parts.next()?) {
            ("ostree", "boot.0") => 0,
            ("ostree", "boot.1") => 1,
            _ => return None,
        };
        let rest: Vec<_> = parts.collect();
        let plain = |name: &&str| !name.is_empty() && !name.starts_with('.');
        (rest.len() == 3 && rest.iter().all(plain)).then(|| Self { slot, path: path.to_owned() })
    }

    /// Its path, relative to the physical root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kernel arguments by which early boot finds the deployment.
    pub fn to_args(&self) -> Result<KernelCmdline> {
        let arg = KernelArg::new(format!("{KEY}=/{}", self.path))
            .map_err(|error| Error::internal("name a deployment on a command line").with_source(error))?;
        Ok([arg].into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// spec: BW-313
    #[test]
    fn an_argument_reads_back_what_it_prints() {
        let link = Link::first(1, "default", "ab");
        let args = link.to_args().unwrap();
        assert_eq!(args.to_string(), "ostree=/ostree/boot.1/default/ab/0");
        assert_eq!(Link::of(&args), Some(link));
    }

    #[test]
    fn an_argument_of_another_shape_names_nothing() {
        for bad in [
            "",
            "ostree/boot.1/default/ab/0",
            "/ostree/boot.2/default/ab/0",
            "/ostree/boot.1/default/ab",
            "/ostree/boot.1/default/ab/0/x",
            "/ostree/boot.1/../ab/0",
            "/ostree/boot.1//ab/0",
        ] {
            assert_eq!(Link::parse(bad), None, "{bad:?}");
        }
    }
}
