#!/bin/sh
# check_old_program.sh BUILD: a program that was compiled and linked with the first version, and is
# older than anything that was added since, runs with today's library and gives what a new program
# gives.
#
# The first version's library is played by functions without bodies under its soname and symbol
# version; the dynamic linker then holds today's library to what the old binary asks for.
build=$1
here=tests/abi
work=$build/abi
model=examples/demo/fashion-mnist.vmoe
picture=examples/demo/pictures/bag.jpg
passed=0 failed=0

try() { # NAME COMMAND...
    name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $name"; fi
}

run() { # PROGRAM
    LD_LIBRARY_PATH=$build LD_BIND_NOW=1 "$work/$1" $model $picture >"$work/$1.out"
}

# The symbol versions that a program asks for.
asked() { # PROGRAM
    readelf -W --dyn-syms "$work/$1" | grep -o 'vmoe_[a-z_]*@[^ ]*' | cut -d@ -f2 | sort -u
}

mkdir -p "$work/first"
sed -n 's/^[a-z].*\(vmoe_[a-z_]*\)(.*/void \1(void); void \1(void) {}/p' $here/first.h \
    >"$work/first/first.c"
echo 'VMOE_0.1 { global: vmoe_*; local: *; };' >"$work/first/first.map"
try "first library" cc -shared -fPIC -Wl,-soname,libvmoe.so.0 \
    -Wl,--version-script="$work/first/first.map" "$work/first/first.c" -o "$work/first/libvmoe.so"
try "old program" cc -std=c11 -DHEADER='"first.h"' $here/program.c -o "$work/old" \
    -L"$work/first" -lvmoe
try "new program" cc -std=c11 -DHEADER='<vmoe.h>' -Iinclude $here/program.c -o "$work/new" \
    -L"$build" -lvmoe
try "the old program asks for VMOE_0.1 only" [ "$(asked old)" = VMOE_0.1 ]
try "the old program runs" run old
try "the new program runs" run new
try "both give the same" cmp "$work/old.out" "$work/new.out"
try "they give something" [ "$(wc -l <"$work/new.out")" = 12 ]

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
