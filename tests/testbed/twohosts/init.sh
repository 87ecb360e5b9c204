#!/bin/sh
# The first process of a host's namespaces: makes the mounts, then reaps.
#
#   init.sh NAME DIRECTORY
#
# It talks to its maker over stdin and stdout:
#   > our line of /proc/self/stat, still in the machine's numbering
#   < "recorded": only now may a host exist; a maker that died says nothing
#   > "ready"
set -eu

name=$1
dir=$2

read -r stat </proc/self/stat
echo "$stat"
read -r answer
[ "$answer" = recorded ]

hostname "$name"
ip link set lo up
mount -t proc proc /proc

# A sysfs of this network namespace.  No cgroups: both daemons number their
# guests from 1, so that the two would share machine/qemu-1-NAME.
umount -R -l /sys 2>/dev/null || true
mount -t sysfs sysfs /sys

# Devices, without KVM: both hosts emulate, whatever the machine can do.
mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
mkdir "$dir/mnt/pts" "$dir/mnt/shm" "$dir/mnt/net"
for node in null zero full random urandom tty net/tun; do
	[ -e "/dev/$node" ] || continue
	: >"$dir/mnt/$node"
	mount --bind "/dev/$node" "$dir/mnt/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$dir/mnt/pts"
mount -t tmpfs tmpfs "$dir/mnt/shm"
ln -s pts/ptmx "$dir/mnt/ptmx"
ln -s /proc/self/fd "$dir/mnt/fd"
ln -s /proc/self/fd/0 "$dir/mnt/stdin"
ln -s /proc/self/fd/1 "$dir/mnt/stdout"
ln -s /proc/self/fd/2 "$dir/mnt/stderr"
mount --move "$dir/mnt" /dev

# The machine's /etc with the host's own files instead of the machine's.
mount -t tmpfs -o mode=755 tmpfs "$dir/mnt"
cp -a /etc/. "$dir/mnt/"
rm -rf "$dir/mnt/libvirt" "$dir/mnt/pki" "$dir/mnt/ssh" "$dir/mnt/resolv.conf"
cp -a "$dir/etc/." "$dir/mnt/"
mount --move "$dir/mnt" /etc

mkdir -p /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
mount --bind "$dir/run" /run
mount --bind "$dir/lib" /var/lib/libvirt
mount --bind "$dir/log" /var/log/libvirt
mount --bind "$dir/cache" /var/cache/libvirt

echo ready
exec </dev/null >>/var/log/libvirt/init.log 2>&1

# Signals of the host's own processes do not end us; SIGKILL from outside does.
trap : HUP INT TERM
while :; do
	sleep 2147483647 &
	wait
done
