#!/usr/bin/env bash
# Runs a command in a small world of its own, without root: new user, network, mount and process namespaces.
#
#   enter.sh COMMAND [ARGUMENT...]
#
# Inside: uid 0 (of the new user namespace only), loopback up, no other interface, an empty /run, so that
# `ip netns` and WireGuard's sockets work and are nobody else's, an /etc whose changes nobody else sees (where the
# kernel has no overlay for users, only its resolv.conf), and ZTNA_E2E_NET=1. When COMMAND ends, everything that it
# started ends with it, and no interface, namespace or process is left. Exit code: COMMAND's.
# With ZTNA_E2E_USERS set and as root: no new user namespace, so that the machine's other users exist inside as well.
# With no COMMAND it only says whether such a world can be made here, and if not, what is missing.
set -euo pipefail

if [ "${1-}" = --inside ]; then
  shift
  mount -t tmpfs tmpfs /run
  mkdir -p /run/netns /run/wireguard /run/etc/upper /run/etc/work
  if ! mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work /etc 2>/dev/null; then
    : >/run/etc/resolv.conf
    mount --bind /run/etc/resolv.conf /etc/resolv.conf
  fi
  ip link set lo up
  export ZTNA_E2E_NET=1
  # Not exec: this shell stays as process 1 and reaps orphans.
  "$@"
  exit
fi

if ! : 2>/dev/null <>/dev/net/tun; then
  echo "enter.sh: /dev/net/tun cannot be opened by $(id -un), and the gateway needs it. As root: modprobe tun; chmod 0666 /dev/net/tun (what udev does on most systems)" >&2
  exit 69
fi
enter=(unshare --net --mount --pid --fork --kill-child --mount-proc)
if [ -z "${ZTNA_E2E_USERS-}" ] || [ "$(id -u)" != 0 ]; then
  enter+=(--user --map-root-user)
fi
if ! refusal=$("${enter[@]}" true 2>&1); then
  echo "enter.sh: this kernel refuses user namespaces to $(id -un): $refusal. See sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns" >&2
  exit 69
fi
[ $# -gt 0 ] || exit 0
exec "${enter[@]}" "${BASH_SOURCE[0]}" --inside "$@"
