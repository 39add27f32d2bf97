# Programs of users, in C and C++, shared and static, built against an installed tree.  Each must answer
# as the installed command does.  A test sources this file behind checks.sh; it has set `work`, the
# `tree` and its `libdir`, and has told pkg-config of them.
# shellcheck shell=sh disable=SC2154
here=tests/consumers
model=examples/demo/fashion-mnist.vmoe
picture=examples/demo/pictures/bag.jpg

# What the programs shall print.
command_classifies() {
    "$tree/bin/vmoe" classify --json --top 3 $model $picture | grep -o '"index": [^}]*' >"$work/expected"
    [ "$(wc -l <"$work/expected")" = 3 ]
}

# The program answers, and needs the shared library if KIND is shared, and only then.
answers() { # PROGRAM KIND
    needed=$(readelf -d "$1" | sed -n 's/.*NEEDED.*\[libvmoe\.so\..*/shared/p')
    LD_LIBRARY_PATH=$libdir "$1" $model $picture >"$work/answer" &&
        cmp "$work/answer" "$work/expected" && [ "${needed:-static}" = "$2" ]
}

compile() { # LANGUAGE KIND COMMAND...
    program=$work/pkgconfig_$1_$2
    name="pkg-config, $1, $2" kind=$2
    shift 2
    check "$name" "$@" -o "$program"
    check "... and answers" answers "$program" "$kind"
}

with_pkg_config() {
    flags=$(pkg-config --cflags --libs libvmoe)
    static=$(pkg-config --static --cflags --libs libvmoe)
    # shellcheck disable=SC2086
    {
        compile c shared cc $here/classify.c $flags
        compile cpp shared c++ $here/classify.cpp $flags
        compile c static cc -static $here/classify.c $static
        compile cpp static c++ -static $here/classify.cpp $static
    }
    check "pkg-config knows the version" [ "$(pkg-config --modversion libvmoe)" = "$(cat VERSION)" ]
}

# The four programs of a project have language and kind in their names.
built() { # FOLDER
    for program in c_shared cpp_shared c_static cpp_static; do
        check "$1, $program answers" answers "$work/$1/$program" "${program#*_}"
    done
}

with_cmake() {
    check "CMake configures" cmake -S $here -B "$work/cmake" -DCMAKE_PREFIX_PATH="$tree"
    check "CMake compiles" cmake --build "$work/cmake" --parallel 2
    built cmake
}

with_meson() {
    check "Meson sets up" meson setup "$work/meson" $here
    check "Meson compiles" meson compile -C "$work/meson"
    built meson
}
