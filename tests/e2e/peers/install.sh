#!/usr/bin/env bash
# Installs the outside programs that the end-to-end tests talk to, all under target/peers and nothing else:
#
#   bin/cerbos        the AuthZEN policy decision point        npm, cerbos/package-lock.json
#   oidc/op.mjs       the OpenID provider                      npm, oidc/package-lock.json
#   permguard/pdp.mjs a server of Permguard's gRPC protocol    npm, permguard/package-lock.json
#   bin/wireguard-go  the gateway                              Debian 13's package, or Debian 12's
#   bin/wg, bin/nft   to configure and to inspect it           Debian 12's packages
#   bin/busybox       DHCP server and client, nc               Debian 12's package
#   bin/ethtool       switches the offloads of links off       Debian 12's package
#
# Versions are pinned by the lock files and below; contents by the lock files' hashes and Debian's signatures.
# Needs no root, unless one of the programs in `need_programs` is missing: then it installs Debian's package of it and
# says so. A second run does nothing. Usage: install.sh [DESTINATION]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dest=${1:-$here/../../../target/peers}
mkdir -p "$dest/bin"
dest=$(cd "$dest" && pwd)

say() { printf 'peers: %s\n' "$*"; }
die() { printf 'peers: error: %s\n' "$*" >&2; exit 1; }

# Succeeds when NAME was installed from exactly these inputs before.
installed() { [ -f "$dest/.$1.stamp" ] && [ "$(cat "$dest/.$1.stamp")" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$dest/.$1.stamp"; }
# The paths stay out of the hash: the same files are the same peer wherever the repository lies.
hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

need_programs() {
  local missing=() program package
  while read -r program package; do
    command -v "$program" >/dev/null || [[ " ${missing[*]} " == *" $package "* ]] || missing+=("$package")
  done <<'LIST'
curl curl
dbus-daemon dbus-daemon
ip iproute2
node nodejs
npm npm
nft nftables
nsenter util-linux
ping iputils-ping
strace strace
unshare util-linux
wget wget
LIST
  if [ ${#missing[@]} -eq 0 ]; then
    return
  elif [ "$(id -u)" -eq 0 ]; then
    say "installing the Debian packages ${missing[*]}, which the tests call"
    apt-get -qq update && apt-get -qq install --yes --no-install-recommends "${missing[@]}"
  elif sudo -n true 2>/dev/null; then
    say "installing the Debian packages ${missing[*]} with sudo, which the tests call"
    sudo apt-get -qq update && sudo apt-get -qq install --yes --no-install-recommends "${missing[@]}"
  else
    die "the packages ${missing[*]} are missing and need root: run  apt-get install ${missing[*]}"
  fi
}

need_node() {
  local version
  version=$(node --version)
  version=${version#v}
  [ "${version%%.*}" -ge 20 ] || die "node $version is too old for the OpenID provider: it needs 20 or newer (Debian 13 has it, nodejs.org too)"
}

# Node package folder NAME, exactly as its lock file says.
install_npm() {
  local name=$1 why=$2 key
  key=$(hash_of "$here/$name/package-lock.json")
  if installed "$name" "$key"; then
    say "$name: already there"
  else
    say "$name: installing from npm ($why)"
    rm -rf "${dest:?}/$name" && mkdir -p "$dest/$name"
    cp "$here/$name/package.json" "$here/$name/package-lock.json" "$dest/$name/"
    (cd "$dest/$name" && npm ci --silent --no-audit --no-fund --ignore-scripts)
    stamp "$name" "$key"
  fi
  # Our own files may change without a new installation.
  (cd "$here/$name" && find . -type f ! -name 'package*.json' -exec cp --parents -t "$dest/$name" {} +)
}

# An apt of our own: its own sources, lists and state, so that nothing of the machine's is read or changed.
private_apt() {
  local root=$dest/apt mirror proxy
  mkdir -p "$root"/etc/apt/{apt.conf.d,preferences.d,sources.list.d} "$root/var/lib/apt/lists/partial" \
    "$root/var/cache/apt/archives/partial" "$root/var/lib/dpkg" "$root/downloads"
  : >"$root/var/lib/dpkg/status"
  mirror=$(sed -n 's/^URIs: *\([^ ]*\/debian\)\/*$/\1/p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
  mirror=${mirror:-http://deb.debian.org/debian}
  {
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm main"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main"
  } >"$root/etc/apt/sources.list"
  proxy=$(apt-config dump --format '%v' Acquire::http::Proxy 2>/dev/null || true)
  {
    echo "Dir \"$root\";"
    echo "Dir::State::status \"$root/var/lib/dpkg/status\";"
    echo 'APT::Architecture "amd64"; Acquire::Languages "none"; APT::Sandbox::User "root";'
    [ -z "$proxy" ] || echo "Acquire::http::Proxy \"$proxy\";"
  } >"$root/apt.conf"
  export APT_CONFIG=$root/apt.conf
  apt-get -qq update || die "cannot read Debian's package lists at $mirror"
}

# Unpacks package NAME of Debian's SUITE; fails when its version does not start with PREFIX.
unpack() {
  local name=$1 suite=$2 prefix=$3 version
  (cd "$dest/apt/downloads" && rm -f ./*.deb && apt-get -qq download "$name/$suite") || return 1
  version=$(dpkg-deb --field "$dest/apt/downloads/${name}_"*.deb Version)
  case $version in
    "$prefix"*) ;;
    *) say "$name of $suite is $version, not $prefix" && return 1 ;;
  esac
  dpkg-deb --extract "$dest/apt/downloads/${name}_"*.deb "$dest/debian"
  say "$name $version: unpacked"
}

# Makes bin/NAME, which runs the unpacked PROGRAM with the unpacked libraries.
with_libraries() {
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "'$dest/debian/usr/lib/x86_64-linux-gnu'" "'$dest/debian/$2'" >"$dest/bin/$1"
  chmod +x "$dest/bin/$1"
}

install_debian() {
  local key
  key=$(hash_of "${BASH_SOURCE[0]}")
  if installed debian "$key"; then
    say "wireguard-go, wg, nft, busybox, ethtool: already there"
    return
  fi
  for tool in apt-get apt-cache apt-config dpkg-deb; do
    command -v "$tool" >/dev/null || die "$tool is missing: the gateway peer comes from Debian's packages"
  done
  say "wireguard-go, wg, nft, busybox, ethtool: fetching from Debian (the networks of the tests)"
  private_apt
  rm -rf "$dest/debian"
  unpack wireguard-go trixie 0.0.20231211 || unpack wireguard-go bookworm 0.0.20220316 ||
    die "Debian offers neither of the wireguard-go versions that the tests know"
  # Debian 12's: they run with the C library of Debian 12 and of everything newer.
  while read -r package prefix; do
    unpack "$package" bookworm "$prefix" || die "Debian 12's $package $prefix is not to be had"
  done <<'LIST'
busybox 1:1.35
ethtool 1:6.1
wireguard-tools 1.0.20210914
nftables 1.0.6
libnftables1 1.0.6
libedit2 3.1
libgmp10 2:6.2
libjansson4 2.14
libmnl0 1.0.4
libnftnl11 1.2.4
libxtables12 1.8.9
LIST
  unset APT_CONFIG
  ln -sfn ../debian/usr/bin/wireguard-go "$dest/bin/wireguard-go"
  ln -sfn ../debian/usr/bin/wg "$dest/bin/wg"
  ln -sfn ../debian/bin/busybox "$dest/bin/busybox"
  with_libraries nft usr/sbin/nft
  with_libraries ethtool sbin/ethtool
  "$dest/bin/busybox" udhcpc --help >/dev/null 2>&1 || die "$dest/bin/busybox does not run on this machine"
  for program in wireguard-go wg nft ethtool; do
    "$dest/bin/$program" --version >/dev/null || die "$dest/bin/$program does not run on this machine"
  done
  rm -rf "$dest/apt"
  stamp debian "$key"
}

[ "$(uname -sm)" = "Linux x86_64" ] || die "the peers exist for Linux on x86_64 only, this is $(uname -sm)"
need_programs
need_node
install_npm cerbos "answers access requests"
ln -sfn ../cerbos/node_modules/@cerbos/cerbos-linux-x64/cerbos-linux-x64 "$dest/bin/cerbos"
install_npm oidc "signs the person in"
install_npm permguard "answers access requests over gRPC"
install_debian
say "ready in $dest"
