#!/bin/sh
# check.sh BUILD MODEL: installs the library below BUILD and builds a program against what was
# installed, in C and C++, shared and static, by pkg-config and by CMake.  All say what the command
# says.  Afterwards uninstall leaves nothing.
set -u
model=$2
picture=examples/demo/pictures/ankle-boot.jpg
mkdir -p "$1/consumers" && work=$(cd "$1/consumers" && pwd) || exit 1
tree=$work/installed
passed=0 failed=0
rm -rf "${work:?}"/*

# try NAME COMMAND...: counts a command that must succeed.
try() {
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        echo "failed: $name" && cat "$work/log"
        failed=$((failed + 1))
    fi
}

# says PROGRAM: it prints the class and the probability that the installed command gives.
says() { [ "$("$1" "$model" "$picture")" = "$expected" ]; }

# The CONFIG of this build goes on; flags of the make above must not.
make_here() { MAKEFLAGS='' make --no-print-directory CONFIG="$(basename "$1")" PREFIX="$tree" "$2"; }

try install make_here "$1" install
expected=$("$tree/bin/vmoe" classify --json --top 1 "$model" "$picture" |
    sed 's/.*"label": "\([^"]*\)", "probability": \([0-9.e-]*\).*/\1 \2/')
try 'the command answers' [ "${expected%% 0.*}" = 'Ankle boot' ]

export PKG_CONFIG_PATH="$tree/lib/pkgconfig" LD_LIBRARY_PATH="$tree/lib"
source=tests/consumers/consumer.c
for language in c c++; do
    [ $language = c ] && cc=${CC:-gcc} || cc=${CXX:-g++}
    # shellcheck disable=SC2046 # pkg-config prints words
    try "pkg-config, $language, shared" "$cc" -x $language $source -x none -o "$work/$language-shared" \
        $(pkg-config --cflags --libs libvmoe)
    try "pkg-config, $language, shared: its answer" says "$work/$language-shared"
    # shellcheck disable=SC2046
    try "pkg-config, $language, static" "$cc" -x $language $source -x none -o "$work/$language-static" \
        $(pkg-config --cflags libvmoe) "$tree/lib/libvmoe.a" $(pkg-config --static --libs libvmoe | sed 's/-lvmoe//')
    try "pkg-config, $language, static: its answer" says "$work/$language-static"
done
try 'the version of pkg-config' [ "$(pkg-config --modversion libvmoe)" = "$(cat VERSION)" ]

# CMake meets the tree at another place than it was installed for.
mv "$tree" "$work/moved"
LD_LIBRARY_PATH="$work/moved/lib"
try 'CMake configures' cmake -S tests/consumers -B "$work/cmake" -DCMAKE_PREFIX_PATH="$work/moved"
try 'CMake builds' cmake --build "$work/cmake"
for program in shared static; do
    try "CMake, $program: its answer" says "$work/cmake/$program"
done
mkdir "$work/old" && sed 's/vmoe 0.1/vmoe 1.0/' tests/consumers/CMakeLists.txt >"$work/old/CMakeLists.txt"
cp $source "$work/old"
newer_is_refused() { ! cmake -S "$work/old" -B "$work/old/build" -DCMAKE_PREFIX_PATH="$work/moved"; }
try 'CMake refuses a version that is not there' newer_is_refused

mv "$work/moved" "$tree"
try uninstall make_here "$1" uninstall
try 'nothing is left' [ -z "$(find "$tree" -not -type d)" ]

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
