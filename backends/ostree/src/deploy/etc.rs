//! `/etc` of a deployment that is checked out and in no catalogue yet.
//!
//! libostree would merge as well, but stops at what it cannot decide. The rules here are those of every backend
//! ([`bootwright_core::etc_merge`]), so libostree only makes the copy of the defaults, and what differs is put in its place.

use bootwright_core::{
    context::BackendContext,
    error::Result,
    etc_merge::{EtcTree, MergeReport, materialise, merge, scan},
};

/// A leftover of the container's build, after which systemd would believe that `/etc` was updated for this system already
/// (`ConditionNeedsUpdate=` in systemd.unit(5)).
const UPDATED_STAMP: &str = ".updated";

/// The `/etc` of an image, with which a machine starts.
pub(crate) fn fresh(context: &BackendContext, folder: &str) -> Result<MergeReport> {
    context.sysroot.remove_file(&format!("{folder}/etc/{UPDATED_STAMP}"))?;
    Ok(MergeReport::default())
}

/// The merge of what `source` (a deployment's folder) had and has with what `folder` brings. `source` is only read.
///
/// # Crash
/// `/etc` may be missing or incomplete: nothing may use the folder yet.
pub(crate) fn merged(context: &BackendContext, folder: &str, source: &str) -> Result<MergeReport> {
    let base = defaults(context, source)?;
    let new = defaults(context, folder)?;
    let local = scan(&context.sysroot.sub(&format!("{source}/etc"))?)?;
    let (result, report) = merge(&base, &local, &new);
    let target = format!("{folder}/etc");
    context.sysroot.remove_dir_all(&target)?;
    materialise(&result, &context.sysroot.make_sub(&target)?)?;
    Ok(report)
}

fn defaults(context: &BackendContext, folder: &str) -> Result<EtcTree> {
    let etc = scan(&context.sysroot.sub(&format!("{folder}/usr/etc"))?)?;
    if etc.get(UPDATED_STAMP).is_none() {
        return Ok(etc);
    }
    let mut entries = etc.iter();
    let root = entries.next().map(|(_, node)| node.metadata.clone()).unwrap_or_default();
    let mut rest = EtcTree::new(root);
    for (path, node) in entries.filter(|(path, _)| !path.starts_with(UPDATED_STAMP)) {
        rest.insert(path, node.clone())?;
    }
    Ok(rest)
}
