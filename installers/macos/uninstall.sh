#!/bin/sh
# Removes the programs, and with --purge settings, keys, state and logs too. Run it with sudo.
set -e
[ "$(id -u)" = 0 ] || { echo "uninstall: run this with sudo" >&2; exit 1; }
programs="/Applications/ZTNA Connector.app/Contents/MacOS"
user=$(stat -f %u /dev/console)
launchctl bootout "gui/$user/ztna-tray" 2>/dev/null || true
"$programs/ztna" service uninstall || true
"$programs/ztna" repair || true
rm -f /usr/local/bin/ztna /Library/LaunchAgents/ztna-tray.plist /Library/Logs/ztnad.log
rm -f /usr/local/share/man/man1/ztna.1 /usr/local/share/man/man1/ztna-*.1 /usr/local/share/man/man8/ztnad.8
rm -f /usr/local/share/zsh/site-functions/_ztna /usr/local/share/bash-completion/completions/ztna \
  /usr/local/share/fish/vendor_completions.d/ztna.fish
rm -rf "/Applications/ZTNA Connector.app"
if [ "${1:-}" = --purge ]; then
  rm -rf "/Library/Application Support/ZTNA" /Library/Logs/ZTNA /var/run/ztna
fi
pkgutil --forget com.ztna-connector.pkg >/dev/null 2>&1 || true
