#!/bin/sh
# Stands in for a C compiler of a foreign target while the workspace is only type-checked for it: build scripts want
# object files, but nothing links them. Leaves an empty file wherever -o points; hands preprocessing, by which build
# scripts recognise a compiler, to the machine's own.
output=
expected=
for argument in "$@"; do
  case $argument in
    -E) exec cc "$@" ;;
    --version | -v) echo "clang version 19.0.0 (stand-in)" && exit 0 ;;
    -dumpmachine) echo "${TARGET:-unknown}" && exit 0 ;;
  esac
  [ "$expected" ] && output=$argument
  expected=
  [ "$argument" = -o ] && expected=yes
done
[ -z "$output" ] || : >"$output"
