//! Kernel arguments that an image brings: `/usr/lib/bootc/kargs.d/*.toml`.
//!
//! ```toml
//! kargs = ["console=ttyS0,115200n8", "mitigations=auto"]
//! match-architectures = ["x86_64"]
//! ```

use serde::Deserialize;

use super::drop_in;
use crate::{error::Result, model::KernelCmdline, tree::TreeReader};

/// Where the files are in an image.
pub const FOLDER: &str = "usr/lib/bootc/kargs.d";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    kargs: Vec<String>,
    match_architectures: Option<Vec<String>>,
}

const KNOWN: &[&str] = &["kargs", "match-architectures"];

/// The arguments of one file: none if it is for other architectures. `architecture` and the file may use the kernel's names or OCI's.
///
/// # Errors
/// `InvalidInput`, naming file and line: no TOML, no `kargs`, or one that is no kernel argument.
pub fn parse(file: &str, text: &str, architecture: &str) -> Result<KernelCmdline> {
    let parsed: File = drop_in::parse(file, text, KNOWN)?;
    let arguments = drop_in::arguments(file, &parsed.kargs)?;
    let wanted = drop_in::matches(parsed.match_architectures.as_deref(), architecture);
    Ok(if wanted { arguments } else { KernelCmdline::new() })
}

/// The arguments of all files, in the order of file names.
///
/// # Errors
/// Those of [`parse`] and of the tree.
pub async fn load(tree: &dyn TreeReader, architecture: &str) -> Result<KernelCmdline> {
    let mut all = KernelCmdline::new();
    for (file, text) in drop_in::read(tree, FOLDER).await? {
        for arg in parse(&file, &text, architecture)?.iter() {
            all.push(arg.clone());
        }
    }
    Ok(all)
}
