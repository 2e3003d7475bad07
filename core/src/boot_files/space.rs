//! Room on a boot file system, counted as the file system counts.

use crate::{
    error::{Error, ErrorKind, IoContext, Result},
    fs::Root,
    model::SpaceNeed,
};

/// Kept free beyond what files take: folders grow by clusters too, and firmware and people want to write something now and then.
const MARGIN: u64 = 1 << 20;

/// Adds up what files will take on one file system.
#[derive(Debug)]
pub struct Room {
    place: String,
    cluster: u64,
    available: u64,
    needed: u64,
}

impl Room {
    /// Starts with nothing needed. `place` names the file system for people ("the ESP").
    ///
    /// # Errors
    /// `Io` if the file system does not say how much is free.
    pub fn on(root: &Root, place: &str) -> Result<Self> {
        let stats = rustix::fs::fstatvfs(root.dir())
            .context_io(|| format!("ask for the cluster size of {}", root.label().display()))?;
        Ok(Self {
            place: place.to_owned(),
            cluster: stats.f_frsize.max(512),
            available: root.free_bytes()?,
            needed: 0,
        })
    }

    /// Counts one more file of `size` bytes, in whole clusters.
    pub fn add(&mut self, size: u64) {
        let clusters = size.div_ceil(self.cluster).max(1);
        self.needed = self.needed.saturating_add(clusters.saturating_mul(self.cluster));
    }

    /// The sum, with a margin if anything is needed at all.
    pub fn total(self) -> SpaceNeed {
        let margin = if self.needed == 0 { 0 } else { MARGIN };
        SpaceNeed { place: self.place, needed: self.needed.saturating_add(margin), available: self.available }
    }
}

fn tenths(bytes: u64) -> u64 {
    bytes.saturating_mul(10)
}

fn mib(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `NoSpace` with the numbers if one of `needs` is short.
///
/// # Errors
/// That one.
pub fn short_of_space(needs: &[SpaceNeed]) -> Result<()> {
    let Some(need) = needs.iter().find(|need| need.is_short()) else { return Ok(()) };
    // Never the same number twice: what is needed is rounded up, what there is down.
    let (needed, available) = (mib(tenths(need.needed).div_ceil(1 << 20)), mib(tenths(need.available) >> 20));
    Err(Error::new(
        ErrorKind::NoSpace,
        format!("{} has {available} MiB free, and the new boot files take {needed} MiB", need.place),
    )
    .with_hint("unpin or remove old deployments (`bootwright gc`), delete other files there, or use a larger partition"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Faults;

    #[test]
    fn files_are_counted_in_whole_clusters_and_nothing_needs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path(), Faults::none()).unwrap();
        assert_eq!(Room::on(&root, "x").unwrap().total().needed, 0);
        let mut sum = Room::on(&root, "x").unwrap();
        let cluster = sum.cluster;
        sum.add(0);
        sum.add(cluster + 1);
        assert_eq!(sum.total().needed, 3 * cluster + MARGIN);
    }

    #[test]
    fn too_little_room_is_told_in_numbers() {
        let need = SpaceNeed { place: "the ESP".into(), needed: 3 << 20, available: (1 << 20) + 1000 };
        let error = short_of_space(&[need]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        assert!(error.message().contains("1.0 MiB free") && error.message().contains("3.0 MiB"), "{error}");
    }
}
