#!/usr/bin/env python3
"""Chooses an entry of the tray's menu over the session bus, as a panel does: choose.py LABEL."""
import ast, re, subprocess, sys

def call(name, path, method, *arguments):
    return subprocess.run(["gdbus", "call", "--session", "--dest", name, "--object-path", path, "--method", method,
                           "--", *arguments], capture_output=True, text=True, check=True).stdout

names = call("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames")
tray = re.search(r"org\.kde\.StatusNotifierItem-\d+-1", names).group(0)
layout = call(tray, "/MenuBar", "com.canonical.dbusmenu.GetLayout", "0", "-1", "[]")
entries = re.findall(r"\((\d+), \{([^{}]*)\}", layout)
wanted = sys.argv[1]
for number, properties in entries:
    label = re.search(r"'label': <['\"](.*?)['\"]>", properties)
    if label and label.group(1).replace("_", "").startswith(wanted):
        call(tray, "/MenuBar", "com.canonical.dbusmenu.Event", number, "clicked", "<''>", "0")
        sys.exit(0)
sys.exit(f"choose: no entry {wanted!r} in {[re.search(chr(39)+'label'+chr(39)+': <(.*?)>', p) and re.search(chr(39)+'label'+chr(39)+': <(.*?)>', p).group(1) for _, p in entries]}")
