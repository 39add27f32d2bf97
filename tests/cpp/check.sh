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
fi

# shellcheck disable=SC2086 # a list of words
if g++ -std=c++17 -Wall -Wextra -Werror -Iinclude -o "$work/classify" examples/cpp/classify.cpp \
    "$build/libvmoe.a" $libraries && [ "$("$work/classify" "$model" "$picture" | grep -c Bag)" = 2 ]; then
    result 0 'the example says what is on the picture'
else
    result 1 'the example says what is on the picture'
fi
summary
