#!/bin/sh
# SPDX-License-Identifier: MIT
# libhvd shows its API, all of it and nothing else; and the program that links it gets no other
# library than json-c's. Usage: client_symbols.sh NM READELF HEADER SHARED STATIC
set -eu
nm=$1 readelf=$2 header=$3 shared=$4 static=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
grep -oE '\bhvd_(client|json)_[a-z_]+\(' "$header" | tr -d '(' | sort -u >"$work/mentioned"
grep '^HVD_API' "$header" | grep -oE '\bhvd_(client|json)_[a-z_]+\(' | tr -d '(' | sort -u >"$work/api"
test -s "$work/api"
# what the header speaks of is there
comm -23 "$work/mentioned" "$work/api" >"$work/bad"
"$nm" -D --defined-only "$shared" | awk '{ print $3 }' | sort -u >"$work/shared"
"$nm" -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort -u >"$work/static"
diff -u "$work/api" "$work/shared"
diff -u "$work/api" "$work/static"
if [ -s "$work/bad" ]; then
	echo "the header speaks of, and does not have:"
	cat "$work/bad"
	exit 1
fi
"$readelf" -d "$shared" | grep -q 'SONAME.*\[libhvd\.so\.0\]'
"$readelf" -d "$shared" | grep NEEDED | grep -vE '\[(libjson-c|libc|libasan|libubsan|libtsan|libm|libgcc_s|libpthread|ld-linux-x86-64)\.so' && exit 1
echo "$(wc -l <"$work/api") functions"
