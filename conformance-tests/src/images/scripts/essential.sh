# Runs before the kernel is installed. "$1" is the root of the new system.
# Installing a kernel would build an initramfs that nobody uses: it is built later, with the caller's files.
# The hook that does so is kept out of the image (dpkg path-exclude), but a maintainer script runs it by path.
set -eu
mkdir -p "$1/etc/kernel/postinst.d"
printf '#!/bin/sh\n' > "$1/etc/kernel/postinst.d/dracut"
chmod 755 "$1/etc/kernel/postinst.d/dracut"
echo 'do_symlinks = no' > "$1/etc/kernel-img.conf"
