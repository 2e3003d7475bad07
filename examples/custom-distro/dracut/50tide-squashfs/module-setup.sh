#!/bin/bash
# dracut module: the initramfs mounts the squashfs image that tide.image= names as its root, or reboots.

# called by dracut: only on request (add_dracutmodules, --add)
check() {
    return 255
}

# called by dracut
depends() {
    echo base systemd systemd-initrd udev-rules fs-lib
}

# called by dracut
installkernel() {
    hostonly='' instmods loop squashfs ext4 btrfs xfs
}

# called by dracut
install() {
    local unit
    inst_multiple sh mount umount mkdir losetup
    inst_script "$moddir/tide-root.sh" /usr/lib/tide/root
    inst_simple "$moddir/tide-root.service" "$systemdsystemunitdir/tide-root.service"
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target tide-root.service
    # Whatever way leads to the switch of roots, it goes through the unit above.
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-switch-root.service tide-root.service
    # No shell from which another root could be started.
    for unit in emergency.service rescue.service dracut-emergency.service; do
        inst_simple "$moddir/tide-refuse.service" "$systemdsystemconfdir/$unit"
    done
    inst_multiple "$systemdsystemunitdir/emergency.target" "$systemdsystemunitdir/rescue.target" \
        "$systemdsystemunitdir/reboot.target" "$systemdutildir/systemd-shutdown"
}
