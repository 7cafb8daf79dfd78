#!/usr/bin/env bash
# Walks through a day at a desk, with a real panel and a real browser on a screen that nobody sees, and takes a picture at
# each step: to be looked at by a person; the tests that decide are in tests/programs/tray.rs.
#
#   cargo build --workspace --bins && cargo xtask test peers && tests/e2e/desktop/walk.sh OUT [light|dark] [xfce|gnome|plasma]
#
# The window's pages are shown where the window was built: (cd connector-ui/window && CARGO_TARGET_DIR=../../target/window cargo build).
# Needs the Debian packages xvfb, dbus, chromium, xdotool, scrot, xdg-utils, libglib2.0-bin, and openbox, xfce4-panel, xfconf for
# Xfce; gnome-shell, gnome-shell-extension-appindicator, python3-dbusmock for GNOME, whose shell does not start without a logind;
# plasma-desktop, plasma-workspace, kwin-x11, breeze, breeze-icon-theme for Plasma.
# The company is ztna-lab's; people sign in at npm's oidc-provider.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
out=${1:?where the pictures go}
look=${2:-light}
desktop=${3:-xfce}
case $desktop in
  xfce) own_needs="openbox xfce4-panel" ;;
  gnome) own_needs="gnome-shell gsettings" ;;
  plasma) own_needs="plasmashell kwin_x11 kded5" ;;
  *) echo "walk: there is no desktop '$desktop'; choose xfce, gnome or plasma" >&2; exit 2 ;;
esac
programs=${ZTNA_E2E_BIN:-$root/target/debug}
peers=${ZTNA_E2E_PEERS:-$root/target/peers}

if [ -z "${ZTNA_WALK_INSIDE:-}" ]; then
  for need in $own_needs Xvfb dbus-run-session chromium xdotool scrot xdg-open node; do
    command -v "$need" >/dev/null || { echo "walk: $need is missing" >&2; exit 1; }
  done
  mkdir -p "$out"
  export ZTNA_WALK_INSIDE=1
  exec xvfb-run --auto-servernum --server-args='-screen 0 1280x800x24 +extension GLX' dbus-run-session -- "$0" "$@"
fi

place=$(mktemp -d)
children=()
finish() {
  kill "${children[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  [ -n "${ZTNA_WALK_KEEP:-}" ] || rm -rf "$place"
}
trap finish EXIT
aside() { "$@" >"$place/$(basename "$1").log" 2>&1 & children+=($!); }
number=0
picture() {
  number=$((number + 1))
  scrot --overwrite "$out/$(printf '%02d' $number)-$1.png"
  echo "walk: $(printf '%02d' $number)-$1.png"
}
# Waits until COMMAND succeeds, for half a minute at most.
until_true() {
  for _ in $(seq 150); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.2
  done
  echo "walk: this did not come true: $*" >&2
  exit 1
}

export HOME=$place/home XDG_CONFIG_HOME=$place/home/.config XDG_RUNTIME_DIR=$place/run XDG_STATE_HOME=$place/state
mkdir -p "$XDG_CONFIG_HOME/xfce4/xfconf/xfce-perchannel-xml" "$XDG_RUNTIME_DIR"
chmod 700 "$XDG_RUNTIME_DIR"

xfce() {
  sed "s/name=\"dark-mode\" type=\"bool\" value=\"false\"/name=\"dark-mode\" type=\"bool\" value=\"$([ "$look" = dark ] && echo true || echo false)\"/" \
    "$here/panel.xml" >"$XDG_CONFIG_HOME/xfce4/xfconf/xfce-perchannel-xml/xfce4-panel.xml"
  [ "$look" = dark ] && export GTK_THEME=Adwaita:dark
  xsetroot -solid '#3a5a78' 2>/dev/null || true
  aside openbox
  aside /usr/lib/x86_64-linux-gnu/xfce4/xfconf/xfconfd
  aside xfce4-panel --disable-wm-check
  until_true xdotool search --onlyvisible --class xfce4-panel
  icon_at=(1200 783)
}

overview_is_shown() {
  gdbus call --session --dest org.gnome.Shell --object-path /org/gnome/Shell \
    --method org.freedesktop.DBus.Properties.Get org.gnome.Shell OverviewActive | grep -q "$1"
}
gnome() {
  export GSETTINGS_BACKEND=keyfile XDG_CURRENT_DESKTOP=GNOME XDG_SESSION_TYPE=x11 LIBGL_ALWAYS_SOFTWARE=1
  gsettings set org.gnome.shell enabled-extensions "['ubuntu-appindicators@ubuntu.com']"
  gsettings set org.gnome.shell welcome-dialog-last-shown-version 99
  gsettings set org.gnome.desktop.interface color-scheme "prefer-$look"
  export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$place/system-bus
  aside dbus-daemon --session --nofork --nopidfile --address="$DBUS_SYSTEM_BUS_ADDRESS"
  until_true test -S "$place/system-bus"
  aside /usr/bin/python3 -m dbusmock --system --template logind
  until_true gdbus introspect --system --dest org.freedesktop.login1 --object-path /org/freedesktop/login1
  aside gnome-shell --x11 --sm-disable
  until_true gdbus introspect --session --dest org.kde.StatusNotifierWatcher --object-path /StatusNotifierWatcher
  # It begins with an overview of all windows, of which there are none.
  until_true overview_is_shown true
  gdbus call --session --dest org.gnome.Shell --object-path /org/gnome/Shell \
    --method org.freedesktop.DBus.Properties.Set org.gnome.Shell OverviewActive '<false>' >/dev/null
  until_true overview_is_shown false
  icon_at=(1210 16)
}

plasma() {
  export XDG_CURRENT_DESKTOP=KDE KDE_FULL_SESSION=true KDE_SESSION_VERSION=5 QT_QUICK_BACKEND=software QT_XCB_GL_INTEGRATION=none
  [ "$look" = dark ] && printf '[General]\nColorScheme=BreezeDark\n' >"$XDG_CONFIG_HOME/kdeglobals"
  aside kwin_x11
  aside kded5
  aside plasmashell
  until_true gdbus introspect --session --dest org.kde.StatusNotifierWatcher --object-path /StatusNotifierWatcher
  until_true xdotool search --onlyvisible --class plasmashell
  sleep 5
  icon_at=(1062 778)
}

# The person's browser. As root it starts without its sandbox only.
cat >"$place/browser" <<BROWSER
#!/bin/sh
exec chromium --no-sandbox --incognito --test-type --no-first-run --disable-gpu --disable-sync --disable-background-networking \\
  --disable-component-update --disable-quic --password-store=basic --window-size=1000,700 --window-position=100,20 \\
  --user-data-dir=$place/chromium "\$@" >$place/browser.log 2>&1
BROWSER
chmod +x "$place/browser"
export XDG_DATA_HOME=$place/data
mkdir -p "$XDG_DATA_HOME/applications"
printf '[Desktop Entry]\nType=Application\nName=Browser\nExec=%s %%u\nMimeType=x-scheme-handler/http;x-scheme-handler/https;\n' \
  "$place/browser" >"$XDG_DATA_HOME/applications/browser.desktop"
printf '[Default Applications]\nx-scheme-handler/http=browser.desktop\nx-scheme-handler/https=browser.desktop\n' \
  >"$XDG_CONFIG_HOME/mimeapps.list"

"$desktop"

(cd "$peers/oidc" && exec node op.mjs) >"$place/op.out" 2>&1 & children+=($!)
until_true grep -q ready "$place/op.out"
issuer=$(sed -n 's/.*"issuer":"\([^"]*\)".*/\1/p' "$place/op.out")
"$programs/ztna-lab" --issuer "$issuer" --client-id ztna-connector >"$place/lab.out" 2>"$place/lab.log" & children+=($!)
until_true test -s "$place/lab.out"
told() { python3 -c 'import json,sys; print(json.loads(open(sys.argv[1]).readline())[sys.argv[2]])' "$place/lab.out" "$1"; }
told enrolment_token >"$place/token"
chmod 600 "$place/token"
cat >"$place/ztna.toml" <<TOML
[control_plane]
url = "$(told control_plane)"
policy_key = "$(told policy_key)"
dns_suffixes = ["corp.test"]
enrolment_token_file = "$place/token"
[service]
state_dir = "$place/ztna/state"
log_dir = "$place/ztna/log"
socket = "$place/ztna/run/ztnad.sock"
[proxy]
listen = "127.0.0.1:0"
TOML
export ZTNA_SOCKET=$place/ztna/run/ztnad.sock
ztna() { "$programs/ztna" "$@"; }
standing() { ztna status --json | grep -q "\"standing\": \"$1\""; }
service() { "$programs/ztnad" --userspace --config "$place/ztna.toml" >>"$place/ztnad.log" 2>&1 & running=$!; children+=($running); }

aside "$programs/ztna-tray"
sleep 3
picture no-service
service
until_true ztna status
until_true standing signed_out
sleep 1
picture signed-out

icon() {
  xdotool mousemove "${ZTNA_WALK_ICON_X:-${icon_at[0]}}" "${ZTNA_WALK_ICON_Y:-${icon_at[1]}}"
}
# Opens the menu and chooses what its keys lead to.
menu() {
  icon
  xdotool click 3
  sleep 1.5
}
choose() {
  for key in "$@"; do
    xdotool key "$key"
    sleep 0.25
  done
}

menu
picture menu-signed-out
choose Escape
# What the menu's entry does, the browser and all.
"$here/choose.py" "Sign in" 2>"$place/choose.log" || cat "$place/choose.log" >&2
until_true xdotool search --onlyvisible --class chromium
sleep 5
picture sign-in-page
xdotool type --delay 40 alice
xdotool key Tab
xdotool type --delay 40 secret
xdotool key Return
sleep 3
picture consent
xdotool key Return
sleep 3
picture signed-in
until_true ztna whoami
pkill -f "$place/chromium" || true
sleep 1

px=$(ztna status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["proxy"]["listen"])')
curl --silent --proxy "http://$px" http://wiki.corp.test/ >/dev/null || true
curl --silent --proxy "http://$px" http://payroll.corp.test/ >/dev/null || true
sleep 1
menu
picture menu-connected
choose Escape

# A program that the company forbids runs, and ends again. Other checks may fail on this machine, too.
unmet() { ztna status --json | sed -n 's/.*"checks_unmet": \([0-9]*\).*/\1/p'; }
is_unmet() { [ "$(unmet)" = "$1" ]; }
before=$(unmet)
cp "$(command -v sleep)" "$place/ztna-demo-forbidden"
"$place/ztna-demo-forbidden" 600 &
forbidden=$!
children+=($forbidden)
until_true is_unmet $((before + 1))
sleep 1
picture posture-lost
menu
picture menu-posture-lost
choose Escape
kill "$forbidden"
until_true is_unmet "$before"
sleep 1
picture posture-regained

window=${ZTNA_E2E_WINDOW:-$root/target/window/debug/ztna-window}
if [ -x "$window" ]; then
  mkdir -p "$XDG_CONFIG_HOME/ztna"
  printf 'theme %s\nfavourite wiki\n' "$look" >"$XDG_CONFIG_HOME/ztna/preferences"
  # The pointer would have the icon say what it is.
  xdotool mousemove 640 15
  for page in overview resources device decisions diagnostics settings help about; do
    arguments=(--page "$page")
    [ "$page" != diagnostics ] || arguments=(--run-checks)
    "$window" "${arguments[@]}" >>"$place/window.log" 2>&1 &
    shown=$!
    children+=($shown)
    until_true xdotool search --onlyvisible --pid "$shown"
    sleep 4
    [ "$page" != diagnostics ] || sleep 6
    if [ "$page" = overview ]; then
      for rate in 300000 900000 500000; do
        curl --silent --max-time 10 --proxy "http://$px" "http://wiki.corp.test/download?rate=$rate" >/dev/null || true
      done
    fi
    picture "window-$page"
    kill "$shown"
    wait "$shown" 2>/dev/null || true
  done
fi

kill -9 "$running"
sleep 2
picture service-killed
menu
picture menu-service-killed
choose Escape
service
until_true ztna whoami
sleep 2
picture service-back
echo "walk: done; look at $out"
