//! Install defaults of an image: applied once, at install, where the person who installs says nothing.

use super::Engine;
use crate::{
    error::{Error, Result},
    image_config::InstallDefaults,
    model::{DeploymentId, KernelArg, KernelCmdline, Stateroot},
    transport::policy::Admission,
};

impl Engine {
    /// What the image of a deployment wants an install to do.
    ///
    /// # Errors
    /// `InvalidInput` for a malformed file in the image; else those of the backend.
    pub async fn install_defaults(&self, id: &DeploymentId) -> Result<InstallDefaults> {
        let tree = self.parts.backend.tree(id).await?;
        InstallDefaults::load(&*tree, std::env::consts::ARCH).await
    }
}

/// The machine's arguments with what the image adds, or changes about finding the physical root.
pub(super) fn machine_args(asked: &KernelCmdline, defaults: &InstallDefaults) -> Result<KernelCmdline> {
    let mut args = asked.clone();
    if let Some(spec) = &defaults.root_mount_spec {
        args.remove_key("root");
        if !spec.is_empty() {
            let root: KernelCmdline = [KernelArg::new(format!("root={spec}"))?].into_iter().collect();
            args = root.merged_with(&args);
        }
    }
    Ok(args.merged_with(&defaults.kargs))
}

/// Refuses what an image demands of an install and this one cannot give: silence would look like consent.
///
/// # Errors
/// `Unsupported`.
pub(super) fn check(defaults: &InstallDefaults, admission: Admission) -> Result<()> {
    if defaults.enforce_signature_policy == Some(true) {
        demand_policy(admission)?;
    }
    Ok(())
}

/// Refuses an image that the policy lets in unseen, where an image demanded a policy that looks.
///
/// # Errors
/// `Unsupported`.
pub(super) fn demand_policy(admission: Admission) -> Result<()> {
    if admission == Admission::Unrestricted {
        return Err(Error::unsupported("the image demands that a signature policy is enforced (enforce-container-sigpolicy)")
            .with_hint("the policy of this host accepts any image of that name: demand a signature for it, see containers-policy.json(5)"));
    }
    Ok(())
}

/// What was chosen before the image could be read, and differs from what it asks for.
pub(super) fn mismatches(
    defaults: &InstallDefaults,
    filesystem: Option<&str>,
    stateroot: &Stateroot,
) -> Vec<String> {
    let mut found = Vec::new();
    let tell = |what: &str, wanted: &str, have: &str| {
        format!("the image asks for the {what} {wanted}; the install was told, or chose by itself, {have}")
    };
    if let Some((wanted, have)) = defaults.root_filesystem().zip(filesystem).filter(|(a, b)| a != b) {
        found.push(tell("root file system", wanted, have));
    }
    if let Some(wanted) = defaults.stateroot.as_ref().filter(|wanted| *wanted != stateroot) {
        found.push(tell("stateroot", wanted.as_str(), stateroot.as_str()));
    }
    if let Some(wanted) = &defaults.bootloader {
        // In another tool's words, so it cannot be compared with a plugin's name.
        found
            .push(format!("the image names the bootloader {wanted:?}; the one that was chosen is installed"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_config::InstallFile;

    fn defaults(install: &str) -> InstallDefaults {
        InstallFile::parse("test.toml", &format!("[install]\n{install}")).unwrap().defaults
    }

    fn applied(install: &str) -> String {
        machine_args(&"root=UUID=1 rw".parse().unwrap(), &defaults(install)).unwrap().to_string()
    }

    #[test]
    fn an_images_arguments_follow_those_of_the_machine() {
        assert_eq!(applied(r#"kargs = ["console=ttyS0", "rw"]"#), "root=UUID=1 rw console=ttyS0");
    }

    #[test]
    fn an_image_may_find_its_root_in_another_way_or_by_itself() {
        assert_eq!(applied(r#"root-mount-spec = "LABEL=root""#), "root=LABEL=root rw");
        assert_eq!(applied(r#"root-mount-spec = """#), "rw");
    }

    /// spec: BW-614
    #[test]
    fn a_demand_for_a_signature_policy_is_refused_where_the_policy_accepts_anything() {
        let wish = defaults("enforce-container-sigpolicy = true");
        let refused = check(&wish, Admission::Unrestricted).unwrap_err();
        assert_eq!(refused.kind(), crate::ErrorKind::Unsupported);
        check(&wish, Admission::Verified).unwrap();
        check(&defaults("enforce-container-sigpolicy = false"), Admission::Unrestricted).unwrap();
    }

    #[test]
    fn a_wish_that_came_too_late_is_told_about() {
        let wanted = defaults("stateroot = \"os\"\nfilesystem.root.type = \"xfs\"");
        let found = mismatches(&wanted, Some("ext4"), &Stateroot::default());
        assert!(
            found[0].contains("xfs") && found[0].contains("ext4") && found[1].contains("os"),
            "{found:?}"
        );
        assert!(mismatches(&wanted, Some("xfs"), &Stateroot::new("os").unwrap()).is_empty());
    }
}
