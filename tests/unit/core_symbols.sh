#!/bin/sh
# SPDX-License-Identifier: MIT
# core stands alone: whatever its library leaves undefined must be the processor
# (hw_*), the platform (plat_*), the four memory functions that a compiler may call
# by itself, or what a compiler or sanitizer adds. Usage: core_symbols.sh NM LIBRARY
set -eu
nm=$1 library=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$nm" -g "$library" | awk '$1 == "U" { print $2 }' | sort -u >"$work/undefined"
"$nm" -g --defined-only "$library" | awk 'NF == 3 { print $3 }' | sort -u >"$work/defined"
test -s "$work/defined"
comm -23 "$work/undefined" "$work/defined" |
	grep -Ev '^(hw_|plat_)' |
	grep -Evx '(__)?mem(cpy|set|cmp|move)(_chk)?' |
	grep -Ev '^(__asan_|__ubsan_|__tsan_|__stack_chk_|_GLOBAL_OFFSET_TABLE_)' >"$work/bad" || true
if [ -s "$work/bad" ]; then
	echo "core must not use:"
	cat "$work/bad"
	exit 1
fi
echo "core uses $(comm -23 "$work/undefined" "$work/defined" | wc -l) symbols from outside, all allowed"
