#!/bin/sh
# check_builds.sh PYTHON: the library compiles without a warning by gcc and clang from -O0 to -O3, for musl,
# and without JPEG, where pixels still work; machines that it is not for are refused by a sentence.
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

# musl's folders have none of the libraries, so headers are all that there is.
musl_builds() {
    mkdir -p "$work/musl"
    cp /usr/include/zlib.h /usr/include/zconf.h /usr/include/jpeglib.h /usr/include/jerror.h \
        /usr/include/jmorecfg.h /usr/include/xxhash.h "/usr/include/$(gcc -print-multiarch)/jconfig.h" "$work/musl" &&
        builds musl CC=musl-gcc CFLAGS=-O2 CPPFLAGS="-isystem $work/musl" build/musl/libvmoe.a
}

pixels_work() {
    "$python" -c "import numpy; numpy.save('$work/images.npy', numpy.zeros((2, 28, 28, 3), 'u1'))" &&
        build/no-jpeg/vmoe run $model "$work/images.npy" "$work/logits.npy"
}

jpeg_is_refused() {
    ! build/no-jpeg/vmoe classify $model examples/demo/pictures/bag.jpg >"$work/jpeg" 2>&1 &&
        grep -q "has no JPEG decoder" "$work/jpeg"
}

mkdir -p "$work"
for compiler in gcc clang; do
    for level in 0 1 2 3; do
        check "$compiler -O$level" builds "$compiler-O$level" "CC=$compiler" "CFLAGS=-O$level" \
            "build/$compiler-O$level/libvmoe.a"
    done
done
check "musl" musl_builds
check "without JPEG" make CI=1 -j2 CONFIG=no-jpeg JPEG=no CFLAGS=-O2 build/no-jpeg/vmoe
check "... pixels work" pixels_work
check "... libjpeg is not needed" sh -c '! readelf -d build/no-jpeg/vmoe | grep -q jpeg'
check "... JPEG files are refused" jpeg_is_refused
check "32-bit x86 is refused" refuses i686-linux-gnu-gcc
check "big-endian s390x is refused" refuses s390x-linux-gnu-gcc
summary
