#!/bin/sh
# check_abi.sh LIBRARY: the binary interface is the recorded one, and changes would be noticed.
# check_abi.sh LIBRARY record: records it, after the change has been reviewed (docs/abi.md).
#
# Only what vmoe.h declares counts, and nothing that depends on compiler and machine: one record
# serves all machines with pointers of 64 bits.
library=$1
recorded=tests/abi/libvmoe.so.0.abi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/checks.sh
. tests/checks.sh

if ! command -v abidiff >/dev/null || [ "$(getconf LONG_BIT)" != 64 ]; then
    skip "the binary interface is the recorded one" "no abidiff is here, or the machine has no 64 bits"
    summary
    exit
fi

abi_of() { # LIBRARY INCLUDE
    abidw --headers-dir "$2" --drop-private-types --drop-undefined-syms --no-architecture \
        --no-corpus-path --no-comp-dir-path --no-show-locs --no-elf-needed "$1"
}

# Additions count as differences too.
same() { # LIBRARY INCLUDE
    abi_of "$1" "$2" >"$work/now.abi" && abidiff --harmless "$recorded" "$work/now.abi"
}

if [ "${2:-}" = record ]; then
    abi_of "$library" include >"$work/now.abi" && cp "$work/now.abi" $recorded
    exit
fi

check "the binary interface is the recorded one (docs/abi.md)" same "$library" include

# ---- Would a change be noticed? ----

# Builds the exported functions alone, from a copy of the sources that SED has changed.
build_changed() { # SED
    cp -R include lib "$work"
    sed -i "$1" "$work/include/vmoe.h" "$work/lib/vmoe.map" "$work/lib/vmoe.c" "$work"/lib/*/*.c
    (cd "$work" && cc -std=c11 -w -g -fPIC -fvisibility=hidden -D_FILE_OFFSET_BITS=64 -Iinclude \
        -Ilib -shared -Wl,-soname,libvmoe.so.0 -Wl,--version-script=lib/vmoe.map \
        lib/vmoe.c lib/model/presets.c lib/runtime/status.c -o libvmoe.so)
}

notices() { # WHAT SED
    build_changed "$2" && ! same "$work/libvmoe.so" "$work/include" >"$work/report" &&
        [ -s "$work/report" ]
    result $? "notices $1"
}

build_changed ''
check "the exported functions alone have the same" same "$work/libvmoe.so" "$work/include"
notices "a field in the middle" 's|^    uint32_t priority;  |    uint32_t more; &|'
notices "a field at the end" 's|^    size_t routes_length; /\* elements.*|& size_t more;|'
notices "another type of the same size" 's|^    const int32_t \*cancel;|    const float *cancel;|'
notices "another type of a parameter" 's|vmoe_preset_name(size_t |vmoe_preset_name(uint32_t |'
notices "another value of a status" 's|VMOE_ERR_THREAD = 11|VMOE_ERR_THREAD = 12|'
notices "a function that is gone" '/^        vmoe_preset;/d'
notices "another symbol version" 's|^VMOE_0.1 {|VMOE_0.2 {|'

summary
