# Writes a tar archive of everything that firmware and loaders read to a disk: the ESP as "esp", the boot folder of the physical root as
# "root/boot", firmware variables as "variables". Prints the partition GUID of the ESP.
# usage: boot-files.sh DEVICE
set -eu
place=/run/bootwright-suite-eyes
esp=$(lsblk -nrpo NAME,PARTTYPE | sed -n 's/ c12a7328-f81f-11d2-ba4b-00a0c93ec93b$//p' | head -n 1)
mkdir -p $place/esp $place/root/boot $place/variables
# A namespace of its own: nobody sees these mounts, and they end with it.
unshare --mount sh -eu -s -- "$1" "$esp" $place <<'END_OF_LOOK'
mount "$2" $3/esp
if [ -d /sysroot/boot ]; then mount --bind /sysroot/boot $3/root/boot; fi
if [ -d /sys/firmware/efi/efivars ]; then
    mount -t efivarfs efivarfs $3/variables
fi
cd $3
tar --sparse -c --exclude='variables/[!BL]*' --warning=no-file-changed esp root variables |
    dd of="$1" bs=1M iflag=fullblock oflag=direct conv=fsync status=none
END_OF_LOOK
lsblk -ndro PARTUUID "$esp"
