#!/bin/busybox sh
# The kernel's first program: makes the disks and the network known, and goes on with what lies on the
# root disk, so that nothing of this stays in memory.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for m in $($b cat /modules/order); do
    $b insmod /modules/$m || echo "the module $m cannot be loaded"
done
# A card reader takes its time.
n=0
until root=$($b findfs LABEL=zlayer-root 2>/dev/null); do
    n=$((n + 1))
    if [ $n -gt 200 ]; then
        echo "=== no root disk"
        $b poweroff -f
    fi
    $b usleep 50000
done
$b mount -t ext4 -o ro "$root" /root || echo "=== the root disk cannot be mounted"
$b umount /proc /sys
$b mount --move /dev /root/dev
exec $b switch_root /root /sbin/init
