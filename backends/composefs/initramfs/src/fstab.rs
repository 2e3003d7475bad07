//! What the deployment's own `/etc/fstab` mounts. No I/O.

/// Whether the lines of an fstab(5) mount something at `/var`, so that nothing else may be there before: systemd takes what is mounted for what was
/// asked for, and would leave it at that.
pub fn has_var(fstab: &[u8]) -> bool {
    String::from_utf8_lossy(fstab).lines().any(|line| {
        let mut fields = line.split_whitespace();
        let what = fields.next().unwrap_or("#");
        let at = fields.next().unwrap_or_default();
        let by_itself = !fields.nth(1).unwrap_or_default().split(',').any(|option| option == "noauto");
        !what.starts_with('#') && at.trim_end_matches('/') == "/var" && by_itself
    })
}

#[cfg(test)]
mod tests {
    use super::has_var;

    #[test]
    fn a_line_for_var_is_found_among_others() {
        assert!(has_var(b"# comment\nUUID=1 /home ext4 defaults 0 2\nLABEL=var\t/var  xfs\tnofail 0 0\n"));
        assert!(has_var(b"/dev/vdb1 /var/ ext4"));
    }

    #[test]
    fn comments_folders_below_and_what_is_not_mounted_by_itself_do_not_count() {
        assert!(!has_var(b"#LABEL=var /var xfs defaults 0 0\n# LABEL=var /var xfs\n"));
        assert!(!has_var(b"LABEL=log /var/log ext4 defaults 0 2\n"));
        assert!(!has_var(b"LABEL=var /var ext4 rw,noauto 0 2\n"));
        assert!(!has_var(b"/var /mnt none bind\n\n\xff\xfe\n/var"));
    }
}
