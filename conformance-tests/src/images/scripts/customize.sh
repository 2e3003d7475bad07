# Runs when all packages are installed, and makes the tree follow the image contract. "$1" is its root.
set -eu
cd "$1"

# The kernel lives beside its modules, and /boot is empty: what boots is the installer's business.
for kernel in boot/vmlinuz-*; do
    version=${kernel#boot/vmlinuz-}
    mv "$kernel" "usr/lib/modules/$version/vmlinuz"
    mv "boot/config-$version" "usr/lib/modules/$version/config"
done
rm -rf boot/* vmlinuz vmlinuz.old initrd.img initrd.img.old
mkdir -p sysroot

# Kernel modules: those that these machines may load, and not compressed, since an emulated processor takes up to half a second to unpack one.
# What makes them known, `modules.dep` and the like, is made for what is left.
for modules in usr/lib/modules/*; do
    (
        cd "$modules/kernel"
        find . -name '*.ko*' | grep -Ev '^\./(arch/x86/crypto|block|crypto|lib|mm)/' |
            grep -Ev '^\./drivers/(acpi|block|char|firmware|input|misc|pci|tty|virtio|watchdog)/' |
            grep -Ev '^\./fs/(autofs|btrfs|efivarfs|erofs|ext4|fat|fuse|jbd2|nls|overlayfs|squashfs|xfs)/|/mbcache\.ko' | xargs rm -f
        find . -type d -empty -delete
    )
    find "$modules/kernel" -name '*.ko.xz' -exec chroot . zstd --quiet --decompress --rm {} +
    chroot . depmod "${modules##*/}"
done

# Needed to install packages, and for nothing that a test does. Every file costs time where a tree of links is made or taken away.
rm -rf var/lib/dpkg/info usr/lib/*/gconv usr/lib/*/perl-base usr/share/perl5 usr/bin/perl*

# What belongs to one machine, or to the machine that composes, is not part of an image.
# An empty machine-id is filled in on first boot; a missing one would make that boot a "first boot" forever.
: > etc/machine-id
: > etc/fstab
echo debian > etc/hostname
rm -f etc/resolv.conf etc/kernel/postinst.d/dracut etc/kernel-img.conf etc/.pwd.lock
rm -f etc/passwd- etc/group- etc/shadow- etc/gshadow- var/lib/dpkg/*-old var/cache/debconf/*-old
rm -rf var/cache/apt/* var/cache/ldconfig var/lib/apt/lists/* var/log/* run/* tmp/* root/.cache

# The root account has no password: this image is for tests, and the serial console logs in by itself.
sed -i 's/^root:[^:]*:/root::/' etc/shadow
chmod 0640 etc/shadow etc/gshadow

# Units that a test does not need; each costs up to a second in an emulated machine.
mkdir -p etc/systemd/system
for unit in \
    dev-hugepages.mount dev-mqueue.mount dpkg-db-backup.timer dracut-shutdown.service e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty-static.service getty@tty1.service ldconfig.service \
    proc-sys-fs-binfmt_misc.automount remote-fs.target run-lock.mount sys-fs-fuse-connections.mount \
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    systemd-ask-password-console.path systemd-ask-password-wall.path systemd-binfmt.service \
    systemd-firstboot.service systemd-hibernate-clear.service systemd-hwdb-update.service \
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-logind.service \
    systemd-modules-load.service systemd-pcrmachine.service systemd-pcrphase.service systemd-pcrphase-sysinit.service \
    systemd-pstore.service systemd-random-seed.service systemd-sysctl.service systemd-sysusers.service \
    systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-udev-load-credentials.service \
    systemd-update-done.service
do
    ln -sf /dev/null "etc/systemd/system/$unit"
done
rm -rf etc/systemd/system/*.wants
# dracut copies what is wanted here into the initramfs too. The nodes of drivers that are not loaded yet stay: a root on btrfs or on a loop device
# is waited for through one of them.
for unit in systemd-sysctl systemd-tmpfiles-setup-dev; do
    rm "usr/lib/systemd/system/sysinit.target.wants/$unit.service"
done
ln -sf multi-user.target usr/lib/systemd/system/default.target

mkdir -p usr/lib/systemd/journald.conf.d
printf '[Journal]\nStorage=volatile\n' > usr/lib/systemd/journald.conf.d/50-volatile.conf

# A shell on the console is for people: where the test harness has its port, nobody sees it, and logging in is work for the processor.
for unit in serial-getty@ systemd-user-sessions; do
    mkdir -p "usr/lib/systemd/system/$unit.service.d"
    printf '[Unit]\nConditionPathExistsGlob=!/sys/class/virtio-ports/*\n' > "usr/lib/systemd/system/$unit.service.d/50-people.conf"
done
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 - $TERM\n' \
    > usr/lib/systemd/system/serial-getty@.service.d/50-autologin.conf

# udev looks at the devices that these machines use, and not at 64 consoles and the processor's every feature, of which one is loaded by name:
# everything that is read from a verified root is hashed. dracut copies this into the initramfs too.
mkdir -p usr/lib/systemd/system/systemd-udev-trigger.service.d
cat > usr/lib/systemd/system/systemd-udev-trigger.service.d/50-test.conf <<'END'
[Service]
ExecStart=
ExecStart=-modprobe -q sha256_ssse3
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=pci --subsystem-match=virtio --subsystem-match=block --subsystem-match=virtio-ports --subsystem-match=watchdog --subsystem-match=net
ExecStart=-udevadm trigger --type=devices --action=add --sysname-match=ttyS0
END

# The machines' built-in disk controller has no disk, and its drivers take a second of every boot.
mkdir -p etc/modprobe.d
echo 'blacklist ahci' > etc/modprobe.d/no-disk.conf

# Generators that never generate anything here; each is a process that systemd waits for, at every boot.
mkdir -p etc/systemd/system-generators
for generator in debug hibernate-resume rc-local run ssh sysv system-update tpm2; do
    ln -sf /dev/null "etc/systemd/system-generators/systemd-$generator-generator"
done
