#!/bin/sh
# check_consumers.sh BUILD [meson]: programs of users are built against an installed tree, with
# pkg-config and CMake (or with Meson), in C and C++, shared and static.  Each classifies a picture
# and must answer as the installed command does.
#
# The tree is moved before it is used: pkg-config and CMake must find it where it is.
build=$1
with=${2:-pkg-config and CMake}
here=tests/consumers
model=examples/demo/fashion-mnist.vmoe
picture=examples/demo/pictures/bag.jpg
work=$PWD/$build/consumers
tree=$work/tree
# shellcheck source=tests/checks.sh
. tests/checks.sh

# The program answers, and needs the shared library if KIND is shared, and only then.
answers() { # PROGRAM KIND
    needed=$(readelf -d "$1" | sed -n 's/.*NEEDED.*\[libvmoe\.so\..*/shared/p')
    LD_LIBRARY_PATH=$tree/lib "$1" "$model" "$picture" >"$work/answer" &&
        cmp "$work/answer" "$work/expected" && [ "${needed:-static}" = "$2" ]
}

rm -rf "$work"
mkdir -p "$work"
export PKG_CONFIG_PATH="$tree/lib/pkgconfig"
check "make install" make install "CONFIG=${build##*/}" PREFIX="$work/first"
mv "$work/first" "$tree"
"$tree/bin/vmoe" classify --json --top 3 "$model" "$picture" | grep -o '"index": [^}]*' \
    >"$work/expected"
check "the installed command classifies" [ "$(wc -l <"$work/expected")" = 3 ]

compile() { # NAME LANGUAGE KIND COMMAND...
    program=$work/pkgconfig_$2_$3
    name=$1 kind=$3
    shift 3
    check "$name" "$@" -o "$program"
    check "... and answers" answers "$program" "$kind"
}

if [ "$with" = meson ]; then
    check "Meson sets up" meson setup "$work/meson" "$here"
    check "Meson compiles" meson compile -C "$work/meson"
else
    flags=$(pkg-config --cflags --libs libvmoe)
    static=$(pkg-config --static --cflags --libs libvmoe)
    # shellcheck disable=SC2086
    {
        compile "pkg-config, C, shared" c shared cc $here/classify.c $flags
        compile "pkg-config, C++, shared" cpp shared c++ $here/classify.cpp $flags
        compile "pkg-config, C, static" c static cc -static $here/classify.c $static
        compile "pkg-config, C++, static" cpp static c++ -static $here/classify.cpp $static
    }
    check "pkg-config knows the version" [ "$(pkg-config --modversion libvmoe)" = "$(cat VERSION)" ]
    check "CMake configures" cmake -S "$here" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$tree"
    check "CMake compiles" cmake --build "$work/cmake" --parallel 2
fi
for program in "$work"/cmake/cmake_*_* "$work"/meson/meson_*_*; do
    [ -f "$program" ] && check "${program##*/} answers" answers "$program" "${program##*_}"
done

summary
