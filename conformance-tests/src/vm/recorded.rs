//! A machine whose writes are recorded: those to its disk and those to the firmware's variables, in one order.

use std::path::PathBuf;

use super::qemu::escaped;

/// One raw file that holds the machine's first disk and, behind it, the firmware's variable store; and where each write to it is logged.
///
/// Both devices are windows of one `blklogwrites` node (QEMU, "blklogwrites"), so that there is one log with a total order. The log has the format
/// of the kernel's `dm-log-writes`. It begins anew each time the machine is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The file.
    pub file: PathBuf,
    /// Bytes of the disk, at the beginning of the file.
    pub disk_size: u64,
    /// Bytes of the variable store, right behind the disk; 0 for a machine without one.
    pub variables_size: u64,
    /// Where writes are logged; an empty file.
    pub log: PathBuf,
}

impl Recorded {
    /// QEMU's arguments for the machine type, and for the variable store and what both are windows of.
    pub(super) fn arguments(&self) -> Vec<String> {
        let (file, log) = (escaped(&self.file), escaped(&self.log));
        let (disk, variables) = (self.disk_size, self.variables_size);
        let mut nodes = vec![
            format!("driver=file,node-name=recorded-file,filename={file},cache.no-flush=on"),
            format!("driver=file,node-name=recorded-log,filename={log},cache.no-flush=on"),
            "driver=blklogwrites,node-name=recorder,file=recorded-file,log=recorded-log,log-sector-size=512"
                .to_owned(),
            format!("driver=raw,node-name=recorded-disk,file=recorder,offset=0,size={disk}"),
        ];
        let mut machine = "q35".to_owned();
        if variables > 0 {
            nodes.push(format!(
                "driver=raw,node-name=recorded-variables,file=recorder,offset={disk},size={variables}"
            ));
            machine.push_str(",pflash1=recorded-variables");
        }
        let mut arguments = vec!["-machine".to_owned(), machine];
        for node in nodes {
            arguments.extend(["-blockdev".to_owned(), node]);
        }
        arguments
    }

    /// The first disk. It comes where that of any other machine comes: firmware finds its boot options again by their slot.
    pub(super) fn device() -> [&'static str; 2] {
        // The node below has another user, the variable store; what each may write does not overlap. Merged requests may have as many pieces as
        // a system call takes, and the log's have two more: those would fail.
        ["-device", "virtio-blk-pci,drive=recorded-disk,serial=disk0,share-rw=on,request-merging=off"]
    }
}
