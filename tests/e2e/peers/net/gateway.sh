#!/usr/bin/env bash
# A real WireGuard gateway (Debian's wireguard-go) in a network namespace of its own. To be called inside enter.sh.
#
#   gateway.sh up N PRIVATE_KEY_FILE [INNER_ADDRESS/PREFIX] [MTU]   starts gateway N (1 to 9)
#   gateway.sh peer N PUBLIC_KEY ALLOWED_IPS                        lets a client in
#   gateway.sh behind N ADDRESS                                     gives the gateway's namespace one more address
#   gateway.sh exec N COMMAND...                                    runs a command there (an application behind it)
#   gateway.sh show N                                               prints `wg show wgN dump`
#   gateway.sh down N                                               ends it, with its namespace and link
#
#   this namespace                            namespace gwN
#   198.18.N.1/24 ──── toN ═ veth ═ out ──── 198.18.N.2/24, wireguard-go on UDP 51820
#                                             wgN: INNER_ADDRESS (default 10.77.N.1/24)
#                                             lo:  what `behind` added, reachable through the tunnel only
#
# The outside has no route to the inner addresses: what reaches them came through WireGuard.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${ZTNA_E2E_PEERS:-$here/../../../../target/peers}
wg=$peers/bin/wg

die() { printf 'gateway.sh: %s\n' "$*" >&2; exit 1; }

[ "${ZTNA_E2E_NET-}" = 1 ] || die "call it inside enter.sh: it changes links and namespaces"
[ $# -ge 2 ] || die "usage: gateway.sh up|peer|behind|exec|show|down N ..."
verb=$1 number=$2
shift 2
[[ $number =~ ^[1-9]$ ]] || die "the gateway's number is 1 to 9, not $number"
space=gw$number
# Of its own name, since wireguard-go's control socket is named after the interface.
interface=wg$number
in_space() { nsenter --net="/run/netns/$space" -- "$@"; }

up() {
  local key=$1 inner=${2:-10.77.$number.1/24} mtu=${3:-1420}
  [ -s "$key" ] || die "no private key in $key"
  ip netns add "$space"
  ip link add "to$number" type veth peer name out netns "$space"
  ip addr add "198.18.$number.1/24" dev "to$number"
  ip link set "to$number" up
  ip -n "$space" addr add "198.18.$number.2/24" dev out
  ip -n "$space" link set out up
  ip -n "$space" link set lo up
  mkdir -p /run/gateway
  # No function: `$!` has to be wireguard-go itself, so that whoever kills it kills the gateway.
  LOG_LEVEL=${LOG_LEVEL:-error} nsenter --net="/run/netns/$space" -- \
    "$peers/bin/wireguard-go" --foreground "$interface" >"/run/gateway/$space.log" 2>&1 &
  echo $! >"/run/gateway/$space.pid"
  local deadline=$((SECONDS + 10))
  until in_space "$wg" show "$interface" >/dev/null 2>&1; do
    kill -0 "$(cat "/run/gateway/$space.pid")" 2>/dev/null || die "wireguard-go ended: $(cat "/run/gateway/$space.log")"
    [ $SECONDS -lt $deadline ] || die "wireguard-go did not come up in 10 s: $(cat "/run/gateway/$space.log")"
    sleep 0.02
  done
  in_space "$wg" set "$interface" private-key "$key" listen-port 51820
  ip -n "$space" addr add "$inner" dev "$interface"
  ip -n "$space" link set "$interface" mtu "$mtu" up
}

down() {
  local pid
  pid=$(cat "/run/gateway/$space.pid" 2>/dev/null) && { kill "$pid" 2>/dev/null || true; }
  ip link delete "to$number" 2>/dev/null || true
  ip netns delete "$space" 2>/dev/null || true
  rm -f "/run/gateway/$space.pid" "/run/gateway/$space.log"
}

case $verb in
  up) up "$@" ;;
  peer)
    in_space "$wg" set "$interface" peer "$1" allowed-ips "$2"
    for prefix in ${2//,/ }; do ip -n "$space" route replace "$prefix" dev "$interface"; done
    ;;
  behind) ip -n "$space" addr add "$1" dev lo ;;
  exec) in_space "$@" ;;
  show) in_space "$wg" show "$interface" dump ;;
  down) down ;;
  *) die "unknown verb $verb" ;;
esac
