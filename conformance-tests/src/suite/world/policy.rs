//! The signature policy of a host that is this process.

use std::path::Path;

use bootwright_core::transport::policy::ImagePolicy;

use crate::suite::Result;

/// The policy with this text, as a file in a folder of the world's own; `None`: one that lets every image in.
///
/// # Errors
/// `World` if it cannot be written.
pub fn policy_in(folder: &Path, text: Option<&str>) -> Result<ImagePolicy> {
    let Some(text) = text else { return Ok(ImagePolicy::none()) };
    let path = folder.join("policy.json");
    std::fs::write(&path, text)?;
    Ok(ImagePolicy::at(path))
}
