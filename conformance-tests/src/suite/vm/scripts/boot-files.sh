# Writes a tar archive of what firmware and loaders read beside the ESP: the boot folder of the physical root as "root/boot", without the
# kernels of libostree's own catalogue, which nobody boots, and firmware variables as "variables". What is on the ESP the host reads itself,
# when all of it is on the disk.
# usage: boot-files.sh DEVICE
set -eu
place=/run/bootwright-suite-eyes
mkdir -p $place/root/boot $place/variables
# A namespace of its own: nobody sees these mounts, and they end with it.
unshare --mount sh -eu -s -- "$1" $place <<'END_OF_LOOK'
if [ -d /sysroot/boot ]; then mount --bind /sysroot/boot $2/root/boot; fi
if [ -d /sys/firmware/efi/efivars ]; then
    mount -t efivarfs efivarfs $2/variables
fi
cd $2
tar --sparse -c --exclude='variables/[!BL]*' --exclude=root/boot/ostree --warning=no-file-changed root variables |
    dd of="$1" bs=1M iflag=fullblock oflag=direct conv=fsync status=none
END_OF_LOOK
sync
