# One line for each thing that a program of another project says against what Bootwright wrote on this machine, or does not say although it must.
# usage: complaints.sh LOADER [TOP]
# TOP is before every path that is looked at: tests have the system's files in a folder.
set -u
loader=$1
top=${2-}
answer=$top/run/bootwright-suite-answer

# Its whole output is a complaint if it ends with an error, else what it says on standard error.
ask() {
    warnings=$("$@" 2>&1 >"$answer") && status=0 || status=$?
    if [ $status -ne 0 ]; then
        echo "$* ended with $status: $(tr '\n' ' ' < "$answer") $warnings"
    elif [ -n "$warnings" ]; then
        echo "$*: $warnings"
    fi
}

# What this loader makes, files bootwright-*.SUFFIX in a folder of the ESP, must be there, and bootctl must list each of them. No machine needs its ESP
# mounted, so that is done here (the type is that of the UEFI specification, "Defined GPT Partition Entry - Partition Type GUIDs").
bootctl_lists() { # FOLDER SUFFIX
    esp=$top/run/bootwright-suite-esp
    device=$(lsblk -nrpo NAME,PARTTYPE | sed -n 's/ c12a7328-f81f-11d2-ba4b-00a0c93ec93b$//p' | head -n 1)
    mkdir -p "$esp"
    mount "$device" "$esp" || echo "the ESP, \"$device\", cannot be mounted"
    folder=$esp/$1
    ask bootctl list --no-pager "--esp-path=$esp"
    found=none
    for file in "$folder"/bootwright-*."$2"; do
        [ -e "$file" ] || continue
        found=some
        # Without the boot counter, as bootctl shows it.
        id=$(basename "$file" | sed -E "s/\+[0-9]+(-[0-9]+)?\.$2\$/.$2/")
        grep -q -F -e "$id" "$answer" || echo "bootctl does not list $id"
    done
    [ $found = some ] || echo "$folder has no file bootwright-*.$2 for bootctl to list"
    umount "$esp"
}

# Each option that BootOrder names must exist: efibootmgr has no line for one that does not.
options_exist() {
    order=$(sed -n 's/^BootOrder: //p' "$answer" | tr ',' ' ')
    for number in $order; do
        grep -q "^Boot$number[* ]" "$answer" || echo "efibootmgr does not list Boot$number, which is in BootOrder"
    done
}

# Where the firmware is the bootloader, the option that it starts first must be one of ours, by its label.
ours_is_first() {
    first=${order%% *}
    label=$(sed -n "s/^Boot$first[* ] //p" "$answer")
    case $label in
        "Bootwright "*) ;;
        *) echo "efibootmgr shows \"$label\" first in BootOrder (${order:-empty}), which is no option of ours" ;;
    esac
}

# The deployment that runs, as its root argument leads to it, must be the one that ostree marks as booted.
ostree_knows_what_runs() {
    link=$(tr ' ' '\n' < "$top/proc/cmdline" | sed -n 's/^ostree=//p' | head -n 1)
    running=$(basename "$(readlink -f "$top/sysroot$link")")
    ask ostree admin status
    grep -q -E "^\* [^ ]+ $running( |\$)" "$answer" ||
        echo "ostree admin status does not mark $running (ostree=$link) as booted: $(tr '\n' ' ' < "$answer")"
}

ask systemd-analyze verify --man=no "$top"/usr/lib/systemd/system/bootwright-*.service
if [ -d "$top/sys/firmware/efi" ]; then
    case $loader in
        systemd-boot) bootctl_lists loader/entries conf ;;
        uki) bootctl_lists EFI/Linux efi ;;
    esac
    ask efibootmgr -v
    options_exist
    if [ "$loader" = uki ]; then ours_is_first; fi
fi
if [ -d "$top/sysroot/ostree/repo" ]; then
    ostree_knows_what_runs
fi
