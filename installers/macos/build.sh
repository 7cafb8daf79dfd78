#!/usr/bin/env bash
# Makes the installer for macOS, on a Mac: builds the programs, lays them out, signs and packs them.
#
#   installers/macos/build.sh                     unsigned, for trying
#   SIGN_APPLICATION="Developer ID Application: …" SIGN_INSTALLER="Developer ID Installer: …" \
#     NOTARY_PROFILE=ztna installers/macos/build.sh
#
# NOTARY_PROFILE is what `xcrun notarytool store-credentials` was told. Elsewhere than on a Mac, `--layout` lays out
# everything but the programs, to look at.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
out=$target_dir/package/macos
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -1)
say() { printf 'macos: %s\n' "$*"; }

rm -rf "$out"
app="$out/root/Applications/ZTNA Connector.app/Contents"
mkdir -p "$app/MacOS" "$app/Resources" "$out/root/usr/local/bin" "$out/root/Library/LaunchAgents" "$out/scripts"
sed "s/@VERSION@/$version/" "$here/Info.plist" >"$app/Info.plist"
cp "$root/LICENSE" "$app/Resources/LICENSE.txt"
cp "$here/ztna-tray.plist" "$out/root/Library/LaunchAgents/ztna-tray.plist"
install -m 0755 "$here/uninstall.sh" "$app/Resources/uninstall.sh"
install -m 0755 "$here/preinstall" "$here/postinstall" "$out/scripts/"
# Manual pages, completions, the licences of what the programs contain, and the bill of materials.
(cd "$root" && cargo xtask package --macos-papers "$out/root")
# The programs lie in the bundle, which only the administrator may change; the command is found on the path.
ln -s "/Applications/ZTNA Connector.app/Contents/MacOS/ztna" "$out/root/usr/local/bin/ztna"

if [ "${1:-}" = --layout ]; then
  say "laid out in $out, without programs"
  exit 0
fi
[ "$(uname)" = Darwin ] || { say "this needs a Mac; --layout shows what would be packed" >&2; exit 1; }

for target in aarch64-apple-darwin x86_64-apple-darwin; do
  rustup target add "$target"
  (cd "$root" && cargo build --locked --release --target "$target" \
    --package connector-service --package connector-cli --package connector-ui)
  # The window is a workspace of its own.
  (cd "$root/connector-ui/window" && CARGO_TARGET_DIR="$target_dir/window" cargo build --locked --release --target "$target")
done
for program in ztnad ztna ztna-tray ztna-window; do
  built=$target_dir
  if [ "$program" = ztna-window ]; then built=$target_dir/window; fi
  lipo -create -output "$app/MacOS/$program" "$built"/{aarch64,x86_64}-apple-darwin/release/"$program"
done

if [ -n "${SIGN_APPLICATION:-}" ]; then
  for program in ztnad ztna ztna-window; do
    codesign --force --timestamp --options runtime --sign "$SIGN_APPLICATION" "$app/MacOS/$program"
  done
  codesign --force --timestamp --options runtime --sign "$SIGN_APPLICATION" "${app%/Contents}"
else
  say "SIGN_APPLICATION is not set: nothing is signed"
fi

package="$out/ztna-$version.pkg"
pkgbuild --root "$out/root" --scripts "$out/scripts" --identifier com.ztna-connector.pkg --version "$version" \
  --ownership recommended ${SIGN_INSTALLER:+--sign "$SIGN_INSTALLER"} "$package"
if [ -n "${NOTARY_PROFILE:-}" ]; then
  xcrun notarytool submit "$package" --keychain-profile "$NOTARY_PROFILE" --wait
  xcrun stapler staple "$package"
fi
say "made $package"
