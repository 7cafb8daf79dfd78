#!/usr/bin/env bash
# Makes a Windows to test in: PREFIX, a folder of Wine's. Installs Wine and the compiler that links for Windows from
# Debian's packages if they are missing, for which it needs root, and says so. Usage: prepare.sh PREFIX
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=$1
say() { printf 'wine: %s\n' "$*"; }
die() { printf 'wine: error: %s\n' "$*" >&2; exit 1; }

missing=()
command -v wine >/dev/null || missing+=(wine wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || missing+=(gcc-mingw-w64-x86-64-win32)
if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
  say "installing the Debian packages ${missing[*]}, which build and run the programs for Windows"
  "${as_root[@]}" apt-get -qq update && "${as_root[@]}" apt-get -qq install --yes --no-install-recommends "${missing[@]}" ||
    die "they need root: run  apt-get install ${missing[*]}"
fi

[ ! -d "$prefix" ] || WINEPREFIX=$prefix wineserver -k 2>/dev/null || /usr/lib/wine/wineserver64 -k 2>/dev/null || true
rm -rf "$prefix" && mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
export WINEPREFIX=$prefix WINEDEBUG=-all
# Without the questions that Wine asks on a desk.
WINEDLLOVERRIDES='mscoree=;mshtml=' timeout 180 wine wineboot --init >/dev/null 2>&1 || die "Wine cannot make a Windows in $prefix"
libraries=$prefix/drive_c/windows/system32
if [ ! -e "$libraries/bcryptprimitives.dll" ]; then
  x86_64-w64-mingw32-gcc -O2 -shared -o "$libraries/bcryptprimitives.dll" "$here/bcryptprimitives.c" -ladvapi32
fi
say "a Windows lies in $prefix ($(wine --version))"
