#!/bin/sh
# What a DHCP client does with a lease: busybox' udhcpc calls it with `bound` or `renew` and the lease in variables.
# Addresses, the router, and classless static routes (option 121, RFC 3442), which take the router's place.
set -eu

case $1 in
  bound | renew) ;;
  *) exit 0 ;;
esac
ip -4 address flush dev "$interface" scope global
ip address add "$ip/$mask" dev "$interface"
if [ -n "${staticroutes-}" ]; then
  # shellcheck disable=SC2086  # destination and router, in turn
  set -- $staticroutes
  while [ $# -ge 2 ]; do
    ip route replace "$1" via "$2" dev "$interface"
    shift 2
  done
else
  ip route replace default via "$router" dev "$interface"
fi
