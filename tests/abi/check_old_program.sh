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
# shellcheck source=tests/checks.sh
. tests/checks.sh

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
check "first library" cc -shared -fPIC -Wl,-soname,libvmoe.so.0 \
    -Wl,--version-script="$work/first/first.map" "$work/first/first.c" -o "$work/first/libvmoe.so"
check "old program" cc -std=c11 -DHEADER='"first.h"' $here/program.c -o "$work/old" \
    -L"$work/first" -lvmoe
check "new program" cc -std=c11 -DHEADER='<vmoe.h>' -Iinclude $here/program.c -o "$work/new" \
    -L"$build" -lvmoe
check "the old program asks for VMOE_0.1 only" [ "$(asked old)" = VMOE_0.1 ]
check "the old program runs" run old
check "the new program runs" run new
check "both give the same" cmp "$work/old.out" "$work/new.out"
check "they give something" [ "$(wc -l <"$work/new.out")" = 12 ]

summary
