#!/bin/sh
# check_symbols.sh LIBRARY.a LIBRARY.so MAP [BYTES]: every global of the static library begins with
# vmoe_, the shared one exports exactly the names of the map, is bound at the start, guards its stacks
# and has no more code and data than BYTES, and neither can print, exit, abort or read the
# environment, nor tells in which folder it was built.
static=$1 shared=$2 map=$3 most=${4:-}
passed=0 failed=0
right() { passed=$((passed + 1)); }
wrong() { echo "$1"; failed=$((failed + 1)); }

others=$(nm -g --defined-only "$static" | awk 'NF == 3 && $3 !~ /^vmoe_/ {print $3}' | sort -u)
if [ -z "$others" ]; then right; else wrong "globals of $static without the prefix: $others"; fi

exported=$(nm -D --defined-only "$shared" | awk '$2 != "A" {sub(/@.*/, "", $3); print $3}' | sort)
listed=$(sed -n 's/^ *\(vmoe_[a-z0-9_]*\);.*/\1/p' "$map" | sort)
if [ "$exported" = "$listed" ]; then right; else wrong "exported: $exported; in the map: $listed"; fi

declared=$(grep -oE '^VMOE_API [^;(]*\(' include/vmoe.h | grep -oE 'vmoe_[a-z0-9_]+\($' | tr -d '(' | sort)
if [ "$declared" = "$listed" ]; then right; else wrong "declared in vmoe.h: $declared"; fi

# Executable stack, text relocations and sanitizers aside, these are what a host must not find.
forbidden=$(nm -D --undefined-only "$shared" | awk '{sub(/@.*/, "", $2); print $2}' |
    grep -xE 'exit|_exit|_Exit|abort|raise|signal|sigaction|printf|fprintf|vfprintf|puts|putchar|perror|system|getenv|secure_getenv|setlocale|rand|srand|setenv|umask|chdir')
if [ -z "$forbidden" ]; then right; else wrong "$shared refers to: $forbidden"; fi

if readelf -d "$shared" | grep -q BIND_NOW &&
    nm -D --undefined-only "$shared" | grep -q __stack_chk_fail; then
    right
else
    wrong "$shared is built without guards"
fi

telling=$(grep -lF "$PWD" "$static" "$shared")
if [ -z "$telling" ]; then right; else wrong "$PWD is named in: $telling"; fi

bytes=$(size "$shared" | awk 'NR == 2 {print $1 + $2}')
if [ -z "$most" ] || [ "$bytes" -le "$most" ]; then
    right
else
    wrong "$shared has $bytes bytes of code and data, $most at most"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
