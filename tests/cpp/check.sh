#!/bin/sh
# check.sh BUILD MODEL: the C++ wrapper under every standard from C++17 on, with and without
# exceptions, and its example; with clang++ too where it is installed.
set -u
build=$1
work=$build/cpp
model=$2
picture=examples/demo/pictures/bag.jpg
libraries="-ljpeg -lz -lpthread -lm"
# shellcheck source=tests/checks.sh
. tests/checks.sh
mkdir -p "$work"

# try COMPILER FLAG...: builds and runs the test, and adds up what it counted.
# shellcheck disable=SC2086 # a list of words
try() {
    if "$@" -Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror -Iinclude -Iexamples/cpp \
        -o "$work/wrapper" tests/cpp/test_wrapper.cpp tests/cpp/other.cpp "$build/libvmoe.a" $libraries; then
        "$work/wrapper" "$model" "$picture" >"$work/log"
        tail -n 1 "$work/log" | sed "s|^|$*: |"
        grep '^failed' "$work/log"
        passed=$((passed + $(tail -n 1 "$work/log" | cut -d' ' -f1)))
        failed=$((failed + $(tail -n 1 "$work/log" | cut -d' ' -f3)))
    else
        result 1 "$* compiles"
    fi
}

try g++ -std=c++17
try g++ -std=c++17 -fno-exceptions -fno-rtti
try g++ -std=c++20
if command -v clang++ >/dev/null; then
    try clang++ -std=c++17 -fno-exceptions
    try clang++ -std=c++20
else
    skip "clang++" "it is not installed"
fi

example() { # PROGRAM ARGUMENT...: what it says is in $work/PROGRAM.out
    program=$1
    shift
    # shellcheck disable=SC2086 # a list of words
    g++ -std=c++17 -Wall -Wextra -Werror -pthread -Iinclude -o "$work/$program" \
        "examples/cpp/$program.cpp" "$build/libvmoe.a" $libraries &&
        "$work/$program" "$model" "$@" >"$work/$program.out"
}

check 'classify is built and runs' example classify "$picture"
check '... and says what is on the picture, twice' [ "$(grep -c Bag "$work/classify.out")" = 2 ]
check 'many_threads is built and runs' example many_threads examples/demo/pictures/*.jpg "$model"
"$build/vmoe" classify --json --top 1 "$model" examples/demo/pictures/*.jpg |
    sed 's|.*"file": "\([^"]*\)".*"index": \([0-9]*\), "label": "\([^"]*\)".*|\1: \2 \3|' >"$work/expected"
head -n 10 "$work/many_threads.out" >"$work/lines"
check '... and says what the command says' cmp "$work/lines" "$work/expected"
check '... and that a file is no picture' grep -q "^$model: .*JPEG" "$work/many_threads.out"
summary
