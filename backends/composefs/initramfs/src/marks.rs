//! Marks what was mounted here as the initramfs's own. No I/O.
//!
//! systemd leaves mounts with the option `x-initrd.mount` alone for as long as the kernel runs (systemd.mount(5)). The others it unmounts in each shutdown, that before
//! a restart of user space alone included, and then nobody would mount them again. The kernel does not know the option: libmount keeps it in
//! a file of its own, `/run/mount/utab`, a line with `KEY=value` pairs for each mount, and finds the mount by its source, its place and its root
//! (util-linux, `libmount/src/tab_parse.c`).

/// The folder of [`UTAB`], which may have to be made.
pub const FOLDER: &str = "/run/mount";
/// Where libmount keeps what the kernel does not.
pub const UTAB: &str = "/run/mount/utab";

/// The lines that mark what is mounted at `places` of the root at `target`, in `mountinfo` as proc(5) describes it. Both files quote white space in the
/// same way.
pub fn lines(mountinfo: &str, target: &str, places: &[&str]) -> String {
    let line = |place: &&str| {
        let (root, source) =
            mountinfo.lines().filter_map(|line| mounted_at(line, &format!("{target}{place}"))).next_back()?;
        Some(format!("SRC={source} TARGET={place} ROOT={root} OPTS=x-initrd.mount\n"))
    };
    places.iter().filter_map(line).collect()
}

/// Root and source of a mount, if that is where it is.
fn mounted_at<'a>(line: &'a str, place: &str) -> Option<(&'a str, &'a str)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(3);
    let (root, at) = (fields.next()?, fields.next()?);
    let source = file_system.split(' ').nth(1)?;
    (at == place).then_some((root, source))
}

#[cfg(test)]
mod tests {
    use super::lines;

    const MOUNTINFO: &str = "\
        40 1 0:30 / /sysroot ro,relatime shared:2 - overlay composefs:0a0a ro,lowerdir+=/proc\n\
        41 40 254:2 /state/deploy/0a/etc /sysroot/etc rw,relatime shared:3 - ext4 /dev/vda2 rw\n\
        42 40 254:2 /state/os/my\\040os/var /sysroot/var rw,relatime shared:4 - ext4 /dev/vda2 rw\n\
        43 40 254:2 / /sysroot/sysroot ro,relatime - ext4 /dev/vda2 rw\n\
        44 42 0:50 / /sysroot/var/tmp rw - tmpfs tmpfs rw\n";

    #[test]
    fn var_and_the_physical_root_are_marked_at_the_place_where_they_will_be() {
        assert_eq!(
            lines(MOUNTINFO, "/sysroot", &["/var", "/sysroot"]),
            "SRC=/dev/vda2 TARGET=/var ROOT=/state/os/my\\040os/var OPTS=x-initrd.mount\n\
             SRC=/dev/vda2 TARGET=/sysroot ROOT=/ OPTS=x-initrd.mount\n"
        );
    }

    #[test]
    fn what_is_not_mounted_is_not_marked() {
        assert_eq!(lines(MOUNTINFO, "/elsewhere", &["/var", "/sysroot"]), "");
        assert_eq!(lines("", "/sysroot", &["/var"]), "");
        assert_eq!(lines("garbage\n - \n1 2 3 - x\n", "/sysroot", &["/var"]), "");
    }
}
