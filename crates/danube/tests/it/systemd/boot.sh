#!/bin/sh
# Boots a systemd of its own: PID 1 of new namespaces, with its own part of each tree of
# cgroups, its own units and its own /etc, /run, /tmp and /var. Of the machine it changes
# nothing but for the cgroups NAME, which whoever started it removes.
#
#   boot.sh NAME
set -eu

# The directory of a hierarchy, by what /proc/self/cgroup calls its controllers.
hierarchy() {
    case "$1" in
        '') if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else echo /sys/fs/cgroup/unified; fi ;;
        name=*) echo "/sys/fs/cgroup/${1#name=}" ;;
        *) echo "/sys/fs/cgroup/$1" ;;
    esac
}

if [ "${2:-}" != inside ]; then
    while IFS=: read -r _ controllers path; do
        at=$(hierarchy "$controllers")
        [ -e "$at$path/cgroup.procs" ] || continue
        mkdir "$at$path/$1"
        # A new set of processors is empty, and takes nobody.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$at$path/$1/$file" ] || cat "$at$path/$file" >"$at$path/$1/$file"
        done
        echo $$ >"$at$path/$1/cgroup.procs"
    done </proc/self/cgroup
    exec unshare --pid --fork --kill-child --mount --ipc --uts --cgroup -- sh "$0" "$1" inside
fi

mount --make-rprivate /
mount -t proc proc /proc

fresh() { mkdir -p "$1" && mount -t tmpfs -o "mode=${2:-755}" tmpfs "$1"; }

# As the namespace shows them: each begins at our own part.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    fresh /sys/fs/cgroup
    while IFS=: read -r _ controllers _; do
        at=$(hierarchy "$controllers")
        mkdir -p "$at"
        case "$controllers" in
            '') mount -t cgroup2 cgroup2 "$at" ;;
            name=*) mount -t cgroup -o "none,$controllers" cgroup "$at" ;;
            # One that nobody uses on this machine stays unused.
            *) mount -t cgroup -o "$controllers" cgroup "$at" || rmdir "$at" ;;
        esac
    done </proc/self/cgroup
fi

root=$(cd "$(dirname "$0")/../../../../.." && pwd)
fresh /run
mkdir /run/etc /run/checkout
mount --bind "$root" /run/checkout
cp -a /etc/. /run/etc/
rm -rf /run/etc/systemd/system
mkdir -p /run/etc/systemd/system
mount --bind /run/etc /etc
fresh /tmp 1777
fresh /var/tmp 1777
fresh /var/lib
fresh /usr/local/bin
fresh /usr/lib/systemd/system-generators
fresh /usr/lib/systemd/system
# A checkout below one of these stays where it is.
[ -e "$root/Cargo.toml" ] || { mkdir -p "$root" && mount --bind /run/checkout "$root"; }
# What units lean on, without what a machine does then.
for name in basic default local-fs multi-user network network-online shutdown sockets sysinit umount; do
    printf '[Unit]\nDefaultDependencies=no\n' >"/usr/lib/systemd/system/$name.target"
done

# As a machine's systemd does it: units see what it mounts for them.
mount --make-rshared /

export container=danube-test
for init in /usr/lib/systemd/systemd /lib/systemd/systemd; do
    [ ! -x "$init" ] ||
        exec "$init" --system --unit=multi-user.target --log-target=console --log-level=notice --show-status=no
done
echo "no systemd here" >&2
exit 1
