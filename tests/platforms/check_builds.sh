#!/bin/sh
# check_builds.sh PYTHON: the library compiles without a warning by gcc and clang from -O0 to -O3, for
# 64-bit ARM, for musl, without JPEG, where pixels still work, and as sources of a host; machines that
# it is not for are refused by a sentence.
python=$1
work=$PWD/build/builds
model=examples/demo/fashion-mnist.vmoe
# shellcheck source=tests/checks.sh
. tests/checks.sh

builds() { # NAME ARGUMENT...: make's
    config=$1
    shift
    make CI=1 -j2 "CONFIG=$config" "$@" && rm -rf "build/$config"
}

refuses() { # COMPILER
    ! "$1" -std=c11 -Iinclude -Ilib -fsyntax-only lib/vmoe.c 2>"$work/refused" &&
        grep -q "little-endian machines with pointers of 64 bits" "$work/refused"
}

# musl's and the cross compilers' folders have none of the libraries; headers are enough for an archive.
copy_headers() {
    mkdir -p "$work/headers"
    cp /usr/include/zlib.h /usr/include/zconf.h /usr/include/jpeglib.h /usr/include/jerror.h \
        /usr/include/jmorecfg.h /usr/include/xxhash.h "/usr/include/$(gcc -print-multiarch)/jconfig.h" \
        "$work/headers"
}

builds_with_headers() { # NAME COMPILER LEVEL
    builds "$1" "CC=$2" "CFLAGS=$3" CPPFLAGS="-isystem $work/headers" "build/$1/libvmoe.a"
}

# What make would do is only seen where jobs meet, so its own list of rules is asked.
one_by_one() { # GOAL...
    make -npq "$@" | grep -qx '\.NOTPARALLEL:'
}

pixels_work() {
    "$python" -c "import numpy; numpy.save('$work/images.npy', numpy.zeros((2, 28, 28, 3), 'u1'))" &&
        build/no-jpeg/vmoe run $model "$work/images.npy" "$work/logits.npy"
}

jpeg_is_refused() {
    ! build/no-jpeg/vmoe classify $model examples/demo/pictures/bag.jpg >"$work/jpeg" 2>&1 &&
        grep -q "has no JPEG decoder" "$work/jpeg"
}

# All of lib/ in a program of a host: kernels of this machine with the Makefile's flags, the rest,
# kernels of other machines among them, with those of docs/embedding.md.
host_compiles() { # FLAG...
    case $(uname -m) in x86_64) own=lib/kernels/x86 ;; *) own=lib/kernels/arm ;; esac
    rm -rf "$work/host" && mkdir "$work/host" || return 1
    make CI=1 CONFIG=host $(ls $own/*.c | sed 's|\(.*\)c$|build/host/\1o|') || return 1
    for source in $(find lib -name '*.c' ! -path "$own/*"); do
        gcc -std=c11 -ffp-contract=off -O2 -Wall -Wextra -Werror -Iinclude -Ilib "$@" -c "$source" \
            -o "$work/host/$(basename "$source" .c).o" || return 1
    done
    gcc -Iinclude "$@" examples/c/minimal.c "$work"/host/*.o build/host/$own/*.o -o "$work/host/minimal" \
        $([ $# -gt 0 ] || echo -ljpeg) -lz -lpthread -lm
}

host_says_the_class() {
    "$work/host/minimal" $model examples/demo/pictures/bag.jpg | grep -q '^8 Bag '
}

host_refuses_jpeg() {
    ! "$work/host/minimal" $model examples/demo/pictures/bag.jpg 2>"$work/jpeg" &&
        grep -q "has no JPEG decoder" "$work/jpeg"
}

mkdir -p "$work"
for compiler in gcc clang; do
    for level in 0 1 2 3; do
        check "$compiler -O$level" builds "$compiler-O$level" "CC=$compiler" "CFLAGS=-O$level" \
            "build/$compiler-O$level/libvmoe.a"
    done
done
check "check and another goal run one after the other" one_by_one all check
check "... other goals at the same time" sh -c "! make -npq all tools | grep -qx '\.NOTPARALLEL:'"
check "clean leaves an editable install its link to the library" sh -c '! make -n clean | grep "libvmoe[.]so"'
check "headers of the libraries" copy_headers
check "musl" builds_with_headers musl musl-gcc -O2
for level in 0 3; do
    check "64-bit ARM, gcc -O$level" builds_with_headers "arm-gcc-O$level" aarch64-linux-gnu-gcc "-O$level"
    check "64-bit ARM, clang -O$level" builds_with_headers "arm-clang-O$level" \
        "clang --target=aarch64-linux-gnu" "-O$level"
done
check "without JPEG" make CI=1 -j2 CONFIG=no-jpeg JPEG=no CFLAGS=-O2 build/no-jpeg/vmoe
check "... pixels work" pixels_work
check "... libjpeg is not needed" sh -c '! readelf -d build/no-jpeg/vmoe | grep -q jpeg'
check "... JPEG files are refused" jpeg_is_refused
check "the sources in a host" host_compiles
check "... which classifies" host_says_the_class
check "... without JPEG" host_compiles -DVMOE_NO_JPEG
check "... which refuses JPEG files" host_refuses_jpeg
check "32-bit x86 is refused" refuses i686-linux-gnu-gcc
check "big-endian s390x is refused" refuses s390x-linux-gnu-gcc
summary
