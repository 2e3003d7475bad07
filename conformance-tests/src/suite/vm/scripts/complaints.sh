# One line for each thing that a program of another project says against what Bootwright wrote on this machine.
set -u
# Its whole output is a complaint if it ends with an error, else what it says on standard error.
ask() {
    warnings=$("$@" 2>&1 >/run/bootwright-suite-answer) && status=0 || status=$?
    if [ $status -ne 0 ]; then
        echo "$* ended with $status: $(tr '\n' ' ' < /run/bootwright-suite-answer) $warnings"
    elif [ -n "$warnings" ]; then
        echo "$*: $warnings"
    fi
}
knows() {
    grep -q -F -e "$1" /run/bootwright-suite-answer || echo "$2 does not list $1"
}
ask systemd-analyze verify --man=no /usr/lib/systemd/system/bootwright-*.service
if [ -d /sys/firmware/efi ]; then
    esp=$(bootctl --print-esp-path)
    if ls "$esp"/loader/entries/bootwright-*.conf >/dev/null 2>&1; then
        ask bootctl list --no-pager
        for entry in "$esp"/loader/entries/bootwright-*.conf; do
            # Without the boot counter, as bootctl shows it.
            knows "$(basename "$entry" | sed -E 's/\+[0-9]+(-[0-9]+)?\.conf$/.conf/')" bootctl
        done
    fi
    ask efibootmgr -v
    for number in $(efibootmgr | sed -n 's/^BootOrder: //p' | tr ',' ' '); do
        knows "Boot$number" efibootmgr
    done
fi
if [ -d /sysroot/ostree/repo ]; then
    ask ostree admin status
fi
