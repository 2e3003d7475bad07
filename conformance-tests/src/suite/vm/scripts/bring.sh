# Puts what a mailbox brought to $1 where it belongs: files of the ESP, of the boot folder, and firmware variables.
# usage: bring.sh FOLDER
set -eu
esp=$(lsblk -nrpo NAME,PARTTYPE | sed -n 's/ c12a7328-f81f-11d2-ba4b-00a0c93ec93b$//p' | head -n 1)
mkdir -p /run/bootwright-suite-eyes/esp
unshare --mount sh -eu -s -- "$1" "$esp" /run/bootwright-suite-eyes <<'END_OF_BRING'
mount "$2" $3/esp
cd "$1"
[ ! -d esp ] || cp -R esp/. $3/esp/
if [ -d variables ]; then
    mount -t efivarfs efivarfs $3/esp
    for name in $(ls variables); do
        chattr -i "$3/esp/$name" 2>/dev/null || true
        # efivarfs takes attributes and value in one write only.
        dd if="variables/$name" of="$3/esp/$name" bs=64K status=none
    done
fi
END_OF_BRING
sync
