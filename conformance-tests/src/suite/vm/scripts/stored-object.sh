# Prints the file of the store, below /sysroot, that holds the content of the file $1: "$1" is a path in /usr.
set -eu
size=$(stat -c %s "$1")
find /sysroot/composefs /sysroot/ostree/repo -type f -size "${size}c" 2>/dev/null | while read -r object; do
    if cmp -s "$object" "$1"; then
        echo "$object"
        break
    fi
done
