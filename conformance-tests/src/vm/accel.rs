//! How the guest's processor is run.

use anyhow::{Result, bail};

/// Set to `kvm` or `tcg` to choose.
const VARIABLE: &str = "BOOTWRIGHT_VM_ACCEL";

/// How the guest's processor is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// By emulation: works everywhere, and is several times slower.
    Tcg,
    /// By the host's processor.
    Kvm,
}

impl Accel {
    /// What `BOOTWRIGHT_VM_ACCEL` says, else emulation.
    ///
    /// KVM is never chosen by itself: that `/dev/kvm` can be opened does not mean that a stock kernel runs
    /// under it, as in some nested set-ups, and the failure is a machine that hangs.
    ///
    /// # Errors
    /// When the variable has another value than `kvm` or `tcg`.
    pub fn from_environment() -> Result<Self> {
        Self::parse(std::env::var(VARIABLE).ok().as_deref())
    }

    fn parse(value: Option<&str>) -> Result<Self> {
        match value {
            None | Some("" | "tcg") => Ok(Self::Tcg),
            Some("kvm") => Ok(Self::Kvm),
            Some(other) => bail!("{VARIABLE} is {other:?}; it must be \"kvm\" or \"tcg\""),
        }
    }

    /// The arguments of QEMU that mean this.
    pub(super) fn arguments(self) -> [&'static str; 4] {
        match self {
            // Every feature that a processor has costs an emulated one time: a boot takes some 12 % longer with `max`. `arat` is needed: without it the
            // kernel does not trust the processor's own timer, and waits now and then for ever for another one.
            // And `sha-ni` spares more than it costs: a verified root is hashed wherever it is read. An older QEMU warns that it has none.
            Self::Tcg => ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem,+arat,+sha-ni"],
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulation_is_used_unless_kvm_is_asked_for() {
        assert_eq!(Accel::parse(None).unwrap(), Accel::Tcg);
        assert_eq!(Accel::parse(Some("kvm")).unwrap(), Accel::Kvm);
        assert!(Accel::parse(Some("xen")).unwrap_err().to_string().contains("xen"));
    }
}
