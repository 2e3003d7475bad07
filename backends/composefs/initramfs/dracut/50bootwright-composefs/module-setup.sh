#!/bin/bash
# dracut module: the initramfs mounts a composefs deployment as its root, or reboots.
# The units live in this folder and not in the system's own unit folder, so that they exist in the initramfs only.

program=/usr/lib/bootwright/bootwright-composefs-root

# called by dracut: 255 means only on request (add_dracutmodules, --add), and then always, whatever the build host boots from
check() {
    require_binaries "$program" || return 1
    return 255
}

# called by dracut
depends() {
    echo base systemd systemd-initrd udev-rules fs-lib
}

# called by dracut
installkernel() {
    # Not what the build host happens to need.
    hostonly='' instmods erofs overlay ext4 btrfs xfs
    # fs-verity takes the best hash function that is there at its first use, here, and keeps it. Those that use instructions made for
    # it are loaded by udev if the processor has them; sha512 may not be built in at all.
    hostonly='' instmods -o sha512_generic sha256_ssse3 sha512_ssse3 sha256-arm64 sha2-ce sha512-arm64 sha512-ce
}

# called by dracut
install() {
    local unit
    inst_binary "$program"

    inst_simple "$moddir/bootwright-composefs-root.service" "$systemdsystemunitdir/bootwright-composefs-root.service"
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target bootwright-composefs-root.service

    # Below /etc they win over the units of the same name that dracut or systemd may bring.
    for unit in emergency.service rescue.service dracut-emergency.service; do
        inst_simple "$moddir/bootwright-composefs-refuse.service" "$systemdsystemconfdir/$unit"
    done
    inst_simple "$moddir/system.conf" "$systemdutilconfdir/system.conf.d/50-bootwright-composefs.conf"
    inst_simple "$moddir/initrd-root-fs.conf" \
        "$systemdsystemconfdir/initrd-root-fs.target.d/50-bootwright-composefs.conf"
    inst_simple "$moddir/initrd-switch-root.conf" \
        "$systemdsystemconfdir/initrd-switch-root.service.d/50-bootwright-composefs.conf"

    # Without these, a failure would have nothing to go to, or the reboot would have no program.
    inst_multiple \
        "$systemdsystemunitdir/emergency.target" \
        "$systemdsystemunitdir/rescue.target" \
        "$systemdsystemunitdir/reboot.target" \
        "$systemdutildir/systemd-shutdown"
}
