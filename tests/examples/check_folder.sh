#!/bin/sh
# check_folder.sh BUILD MODEL: examples/c/classify_folder says the same with any number of threads, and
# what the command says; a broken picture is a line and an exit status.
set -u
build=$1
model=$2
work=$build/examples/folder
passed=0 failed=0
mkdir -p "$work"
printf 'no picture' >"$work/broken.jpg"

try() {
    name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else echo "failed: $name" && failed=$((failed + 1)); fi
}

for threads in 1 2 8; do
    "$build/classify_folder" "$model" $threads examples/demo/pictures/*.jpg "$work/broken.jpg" >"$work/$threads"
    try 'a broken picture is told by the status' [ $? = 1 ]
    try "$threads threads" cmp "$work/1" "$work/$threads"
done
try 'a broken picture is a line' grep -q "broken.jpg.error.[a-zA-Z]" "$work/1"
"$build/vmoe" classify --json --top 1 "$model" examples/demo/pictures/*.jpg |
    sed 's/.*"file": "\([^"]*\)".*"label": "\([^"]*\)", "probability": \([0-9.e-]*\).*/\1\t\2\t\3/' >"$work/command"
grep -v 'broken.jpg' "$work/1" >"$work/pictures"
try 'the command says the same' cmp "$work/command" "$work/pictures"
try 'a missing model' sh -c "! '$build/classify_folder' /nowhere.vmoe 1 x 2>'$work/log' && grep -q nowhere '$work/log'"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
