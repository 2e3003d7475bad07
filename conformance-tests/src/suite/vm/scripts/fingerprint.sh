# One line per thing that must not change when a command is refused: name, tab, what it is like.
# Files of the ESP and of the boot folder by content; the store and the deployments by size, mode, owner and time of
# change, because hashing a store takes minutes in an emulated machine; firmware variables by content.
set -eu
export LC_ALL=C
find /sysroot -xdev \( -path '/sysroot/state/os/*/var' -o -path '/sysroot/ostree/deploy/*/var' \) -prune -o \
    \( -type f -o -type l -o -type d \) ! -name '*.lock' ! -name lock ! -path '*/lost+found*' \
    -printf '%p\t%y %s %m %U %T@ %l\n' | sed -E '/\t d /s/ [0-9]+ / /' || true
for place in /efi /boot /boot/efi /run/bootwright/esp; do
    mountpoint -q "$place" || continue
    # An automount point is mounted by this, and not by find, which would see another file system than the one that it was told.
    ls "$place/." > /dev/null
    find "$place" -xdev -type f -exec sha256sum {} + | sed -E 's/^([0-9a-f]+)  (.*)$/\2\t\1/'
done
if [ -d /sys/firmware/efi/efivars ]; then
    mountpoint -q /sys/firmware/efi/efivars || mount -t efivarfs efivarfs /sys/firmware/efi/efivars
    cd /sys/firmware/efi/efivars
    for name in Boot* Loader*; do
        [ -e "$name" ] || continue
        printf '%s\t%s\n' "efivar/$name" "$(sha256sum < "$name" | cut -c1-64)"
    done
fi
