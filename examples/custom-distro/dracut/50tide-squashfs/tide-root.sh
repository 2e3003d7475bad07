#!/bin/sh
# Mounts the squashfs image that the kernel command line names as the root; /etc, /var and /sysroot come from the physical root,
# which sysroot.mount has mounted. Whatever fails, the raw root is taken away and the machine reboots (tide-root.service).
set -euf

refuse() {
    echo "<2>tide-root: $1; no other root is started, rebooting" >/dev/kmsg
    umount -l /sysroot || true
    exit 1
}
trap '[ $? = 0 ] || refuse "mounting the root failed"' EXIT

image=
read -r words </proc/cmdline
for word in $words; do
    case $word in
        tide.image=*)
            [ -z "$image" ] || [ "$image" = "${word#*=}" ] || refuse "tide.image= is given twice"
            image=${word#*=}
            ;;
    esac
done
case $image in
    "" | *[!0-9a-f]*) refuse "tide.image= names no image" ;;
esac

# In a private tmpfs, out of sight until all of it is complete: a mount cannot be moved away from below a shared one.
top=/run/tide-root
mkdir -p $top
mount -t tmpfs -o mode=0700 tide-root $top
mount --make-private $top
mkdir $top/disk $top/root
mount --bind /sysroot $top/disk
mount -o remount,rw $top/disk
state=$top/disk/tide/deploy/$image
[ -d "$state/etc" ] || refuse "the deployment $image has no /etc"
mount -t squashfs -o ro,loop "$top/disk/tide/squashfs/$image.squashfs" $top/root
mount --bind "$state/etc" $top/root/etc
# systemd would take what is mounted here for what /etc/fstab names.
fstab_has_var() {
    [ -f "$state/etc/fstab" ] || return 1
    while read -r what at _ options _; do
        case "${what%"${what#?}"} $at ,$options," in
            "#"* | *,noauto,*) ;;
            ?" /var "*) return 0 ;;
        esac
    done <"$state/etc/fstab"
    return 1
}
fstab_has_var || mount --bind "$state/var" $top/root/var
mount --bind $top/disk $top/root/sysroot
mount -o remount,bind,ro $top/root/sysroot
umount -l /sysroot
mount --move $top/root /sysroot
umount -l $top
# systemd leaves alone what has this option, of which libmount keeps a list; else it would unmount them before a restart of user space alone.
mkdir -p /run/mount
while read -r _ _ _ root at rest; do
    case $at in
        /sysroot/var | /sysroot/sysroot) ;;
        *) continue ;;
    esac
    source=${rest##* - }
    source=${source#* }
    echo "SRC=${source%% *} TARGET=${at#/sysroot} ROOT=$root OPTS=x-initrd.mount" >>/run/mount/utab
done </proc/self/mountinfo
echo "<5>tide-root: the squashfs image $image is the root" >/dev/kmsg
