#!/bin/busybox sh
# The first process of the quickstart guest: makes the system usable, then hands over to busybox init.
bb=/bin/busybox
$bb echo "vmm: /init started"
$bb mount -t devtmpfs -o mode=0755 dev /dev 2>/dev/null
$bb mount -t proc proc /proc
$bb mount -t sysfs sys /sys
$bb mkdir -p /dev/pts /dev/shm /tmp /run /mnt
$bb mount -t devpts devpts /dev/pts
$bb mount -t tmpfs tmpfs /run
$bb --install -s
# Kernel messages below "warning" stay out of the shell; dmesg has them.
dmesg -n 5
while read -r module; do
    insmod "/lib/modules/$module.ko" || echo "vmm: could not load $module"
done </lib/modules/order
hostname -F /etc/hostname
# The host asks for this where it has no mkfs.ext4 for the disk that it made. Superblock magic: 0xEF53 at byte 1080.
if grep -qw vmm.mkfs /proc/cmdline && [ -b /dev/vda ] &&
    [ "$(dd if=/dev/vda bs=2 skip=540 count=1 2>/dev/null | od -An -tx2 | tr -d ' ')" != ef53 ]; then
    mke2fs /dev/vda >/dev/null
fi
exec /sbin/init </dev/console >/dev/console 2>&1
