#!/bin/bash
# dracut module: the initramfs starts the OSTree deployment that the kernel command line names, or reboots.
# libostree's own module mounts it; this one sees to it that nothing else is started where that did not happen.
# The units live in this folder and not in the system's own unit folder, so that they exist in the initramfs only.

# called by dracut: 255 means only on request (add_dracutmodules, --add), and then always, whatever the build host boots from
check() {
    require_binaries /usr/lib/ostree/ostree-prepare-root mount || return 1
    return 255
}

# called by dracut
depends() {
    echo base systemd systemd-initrd udev-rules fs-lib ostree
}

# called by dracut
installkernel() {
    # Not what the build host happens to need.
    hostonly='' instmods ext4 btrfs xfs overlay erofs loop
}

# called by dracut
install() {
    local unit
    inst_multiple mount mkdir sh grep
    # libostree's programs look for it here; its module leaves it out in some versions.
    inst_multiple -o /usr/lib/ostree/prepare-root.conf /etc/ostree/prepare-root.conf

    inst_script "$moddir/bootwright-ostree-guard.sh" /usr/lib/bootwright/bootwright-ostree-guard
    inst_simple "$moddir/bootwright-ostree-guard.service" "$systemdsystemunitdir/bootwright-ostree-guard.service"
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-root-fs.target bootwright-ostree-guard.service

    # Below /etc they win over the units of the same name that dracut or systemd may bring.
    for unit in emergency.service rescue.service dracut-emergency.service; do
        inst_simple "$moddir/bootwright-ostree-refuse.service" "$systemdsystemconfdir/$unit"
    done
    inst_simple "$moddir/system.conf" "$systemdutilconfdir/system.conf.d/50-bootwright-ostree.conf"
    for unit in ostree-prepare-root.service initrd-root-fs.target initrd-switch-root.service; do
        inst_simple "$moddir/${unit%.*}.conf" "$systemdsystemconfdir/$unit.d/50-bootwright-ostree.conf"
    done

    # Without these, a failure would have nothing to go to, or the reboot would have no program.
    inst_multiple \
        "$systemdsystemunitdir/emergency.target" \
        "$systemdsystemunitdir/rescue.target" \
        "$systemdsystemunitdir/reboot.target" \
        "$systemdutildir/systemd-shutdown"
}
