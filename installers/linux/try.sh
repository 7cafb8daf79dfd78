#!/usr/bin/env bash
# Takes packages through their lives in a clean Debian, with systemd as process 1 of a small machine of its own.
#
#   try.sh LAB FOLDER PACKAGE.deb [PACKAGE.rpm]
#
# The .rpm is installed beside Debian's packages, which it is told not to ask for. LAB is the program ztna-lab, the company that the service belongs to. FOLDER keeps the clean Debian between runs. Nothing
# outside of FOLDER is changed, but for a control group that is removed. Needs root, mmdebstrap and a mirror of Debian; exits
# with 69 and says what is missing where that is so.
set -euo pipefail

missing() {
  echo "try.sh: $1" >&2
  exit 69
}

# Makes the machine's file systems and becomes its process 1.
if [ "${1-}" = --boot ]; then
  root=$2
  shift 2
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount -t proc proc "$root/proc"
  mount -t sysfs sysfs "$root/sys"
  if [ "$1" = v2 ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root"/sys/fs/cgroup/{systemd,unified,devices}
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o devices cgroup "$root/sys/fs/cgroup/devices"
  fi
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  mkdir "$root"/dev/{net,pts,shm}
  number=3
  for device in null:3 zero:5 full:7 random:8 urandom:9; do
    number=${device#*:}
    mknod -m 666 "$root/dev/${device%:*}" c 1 "$number"
  done
  mknod -m 666 "$root/dev/tty" c 5 0
  mknod -m 666 "$root/dev/net/tun" c 10 200
  ln -s /proc/self/fd "$root/dev/fd"
  mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  ip link set lo up
  cd "$root"
  mkdir -p mnt/old
  pivot_root . mnt/old
  umount -l /mnt/old
  # As systemd makes it where it is not in a container: what it hands to a service is mounted by a process of its own.
  mount --make-rshared /
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --log-target=null
fi

lab=$(realpath "$1")
folder=$(mkdir -p "$2" && realpath "$2")
package=$(realpath "$3")
rpm=${4:+$(realpath "$4")}
own=$(realpath "${BASH_SOURCE[0]}")
root=$folder/root
[ "$(id -u)" = 0 ] || missing "a machine of its own needs root"
[ -c /dev/net/tun ] || missing "there is no /dev/net/tun: modprobe tun"

base=$folder/base-3.tar
if ! [ -s "$base" ]; then
  command -v mmdebstrap >/dev/null || missing "mmdebstrap is not installed"
  mmdebstrap --quiet --variant=minbase \
    --include=systemd,systemd-sysv,dbus,nftables,iproute2,passwd,procps,libgcc-s1,ca-certificates,curl,rpm \
    bookworm "$folder/new.tar" || missing "a clean Debian cannot be fetched"
  mv "$folder/new.tar" "$base"
fi
rm -rf --one-file-system "$root"
mkdir "$root"
tar -xf "$base" -C "$root"

mkdir "$root/root/try"
cp "$package" "$root/root/try/first.deb"
dpkg-deb --raw-extract "$package" "$folder/newer"
sed -i 's/^Version: .*/&+newer/' "$folder/newer/DEBIAN/control"
dpkg-deb --root-owner-group -Zgzip --build "$folder/newer" "$root/root/try/newer.deb" >/dev/null
rm -rf "$folder/newer"
[ -z "$rpm" ] || cp "$rpm" "$root/root/try/ztna.rpm"
cp "$lab" "$root/root/try/ztna-lab"
cp "$(dirname "$own")/try-life.sh" "$root/root/try/life.sh"

version=v1
groups=(systemd unified devices)
if ! [ -d /sys/fs/cgroup/systemd ]; then
  version=v2
  groups=(.)
fi
leave() {
  [ -z "${boot-}" ] || kill -KILL "$boot" 2>/dev/null || true
  wait 2>/dev/null || true
  for group in "${groups[@]}"; do
    echo $$ >"/sys/fs/cgroup/$group/cgroup.procs" || true
    # What was killed holds its group for a moment more.
    for _ in $(seq 50); do
      find "/sys/fs/cgroup/$group/ztna-try" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "/sys/fs/cgroup/$group/ztna-try" ] || break
      sleep 0.1
    done
  done
  rm -rf --one-file-system "$root"
}
trap leave EXIT
for group in "${groups[@]}"; do
  mkdir -p "/sys/fs/cgroup/$group/ztna-try" || missing "control groups cannot be made here"
  echo $$ >"/sys/fs/cgroup/$group/ztna-try/cgroup.procs"
done
unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child "$own" --boot "$root" "$version" &
boot=$!

inside() {
  local first
  first=$(pgrep -P "$boot")
  nsenter -t "$first" --net --mount --pid --uts --ipc --cgroup --root --wd=/ env -i -C / PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"
}
for _ in $(seq 300); do
  state=$(inside systemctl is-system-running 2>/dev/null || true)
  [ "$state" != running ] && [ "$state" != degraded ] || break
  kill -0 "$boot" || missing "systemd does not run as process 1 here"
  sleep 0.1
done
[ "$state" = running ] || [ "$state" = degraded ] || missing "systemd did not come up in time: $state"
inside sh /root/try/life.sh
