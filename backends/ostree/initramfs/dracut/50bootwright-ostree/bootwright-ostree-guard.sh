#!/bin/sh
# Succeeds only if /sysroot is the deployment that the kernel command line names. libostree's ostree-prepare-root then has moved the physical
# root to /sysroot inside of it; where it did not run, or failed, /sysroot still is the physical root itself.

refuse() {
    # Priority "alert" of facility "daemon": printed even with `quiet`.
    echo "<25>bootwright: $1: rebooting, so that the boot loader can fall back" >/dev/kmsg
    # Somebody at the console should be able to read it.
    sleep 5
    exit 1
}

[ "$1" = --refuse ] && refuse "$2"

found=
read -r cmdline </proc/cmdline
# A kernel that panics stands still for ever, if nothing was said about it: a trial would never end.
case " $cmdline " in
*" panic="*) ;;
*) echo 10 >/proc/sys/kernel/panic ;;
esac
for argument in $cmdline; do
    case $argument in
    ostree=/ostree/boot.[01]/*/*/*)
        [ -n "$found" ] && refuse "the kernel command line names two OSTree deployments"
        found=$argument
        ;;
    ostree.prepare-root.composefs=signed) ;;
    ostree.prepare-root.composefs=*)
        # The command line may be anybody's; the orders are the image's, and signed where the initramfs is.
        grep -Eqs '^enabled *= *(verity|signed)' /usr/lib/ostree/prepare-root.conf /etc/ostree/prepare-root.conf &&
            refuse "$argument would do without the verification that the image insists on"
        ;;
    ostree=*) refuse "$argument does not name an OSTree deployment" ;;
    esac
done
[ -n "$found" ] || refuse "the kernel command line names no OSTree deployment"

# systemd leaves alone what has this option, of which libmount keeps a list (systemd.mount(5)); else it would unmount the physical root, and a /boot
# that is on it, before a restart of user space alone, and nobody would mount them again.
mark() {
    source=${rest##* - }
    source=${source#* }
    mkdir -p /run/mount
    echo "SRC=${source%% *} TARGET=${at#/sysroot} ROOT=$root OPTS=x-initrd.mount" >>/run/mount/utab
}

mounted=
while read -r _ _ _ root at rest; do
    case $at in
    /sysroot/sysroot)
        mounted=yes
        mark
        ;;
    /sysroot/boot) mark ;;
    esac
done </proc/self/mountinfo
[ -n "$mounted" ] || refuse "the deployment of $found was not mounted"
