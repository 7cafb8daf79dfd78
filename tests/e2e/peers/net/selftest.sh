#!/usr/bin/env bash
# Proves the fixture with wireguard-go at both ends: two gateways with the same application address behind each, and
# a client namespace that reaches the application through either tunnel and not without one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ "${ZTNA_E2E_NET-}" = 1 ] || exec "$here/enter.sh" "${BASH_SOURCE[0]}"
export ZTNA_E2E_PEERS=${ZTNA_E2E_PEERS:-$here/../../../../target/peers}
wg=$ZTNA_E2E_PEERS/bin/wg
keys=/run/keys
mkdir -p "$keys"
umask 077

fail() { printf 'selftest: FAILED: %s\n' "$*" >&2; exit 1; }
for who in client gw1 gw2; do "$wg" genkey >"$keys/$who" && "$wg" pubkey <"$keys/$who" >"$keys/$who.pub"; done

for n in 1 2; do
  "$here/gateway.sh" up $n "$keys/gw$n"
  "$here/gateway.sh" peer $n "$(cat "$keys/client.pub")" 10.77.0.2/32
  "$here/gateway.sh" behind $n 10.88.0.10/32
  : >"/run/behind$n.log"
  "$here/gateway.sh" exec $n node "$here/behind.mjs" 10.88.0.10 wiki.corp.test=10.88.0.10 >"/run/behind$n.log" &
  until grep -q ready "/run/behind$n.log"; do sleep 0.02; done
done

# The positive control of "through the tunnel only": without a tunnel the application is out of reach.
! curl -s --max-time 2 http://10.88.0.10/ >/dev/null || fail "reached the application without a tunnel"

LOG_LEVEL=error "$ZTNA_E2E_PEERS/bin/wireguard-go" wg9 >/run/wg9.log 2>&1
"$wg" set wg9 private-key "$keys/client"
ip addr add 10.77.0.2/32 dev wg9
ip link set wg9 up
for n in 1 2; do
  [ $n = 1 ] || "$wg" set wg9 peer "$(cat "$keys/gw1.pub")" remove
  "$wg" set wg9 peer "$(cat "$keys/gw$n.pub")" endpoint "198.18.$n.2:51820" allowed-ips 10.77.$n.0/24,10.88.0.0/24
  ip route replace 10.88.0.0/24 dev wg9
  [ "$(curl -s --max-time 5 http://10.88.0.10/)" = wiki ] || fail "no wiki through gateway $n: $("$wg" show wg9)"
  size=$(curl -s --max-time 20 http://10.88.0.10/bytes/50000000 | wc -c)
  [ "$size" = 50000000 ] || fail "a download through gateway $n brought $size bytes of 50000000"
  handshake=$("$here/gateway.sh" show $n | awk 'NR == 2 { print $5 }')
  [ "$handshake" -gt 0 ] || fail "gateway $n saw no handshake"
  echo "selftest: gateway $n: handshake, HTTP and 50 MB through the tunnel"
done
"$here/gateway.sh" down 1
[ "$(curl -s --max-time 5 http://10.88.0.10/)" = wiki ] || fail "gateway 2 does not outlive gateway 1"
! ip netns | grep -q gw1 || fail "namespace gw1 is left"
echo "selftest: gateway 1 taken away, gateway 2 goes on; all good"
