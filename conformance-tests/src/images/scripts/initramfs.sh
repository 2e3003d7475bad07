# Runs dracut inside a composed tree: <mount point> <output> <kernel version> <layer>... -- <dracut argument>...
# The caller starts this in a mount namespace of its own, so every mount below ends with this process.
set -eu
root=$1 output=$2 version=$3
shift 3
mount -t tmpfs -o mode=0755 tmpfs "$root"
while [ "$1" != -- ]; do
    tar -xzf "$1" -C "$root"
    shift
done
shift
mkdir -p "$root/proc" "$root/sys" "$root/dev" "$root/run" "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
chroot "$root" env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 \
    dracut --kver "$version" "$@" /run/initramfs.img
cat "$root/run/initramfs.img" > "$output"
