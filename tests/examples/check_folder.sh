#!/bin/sh
# check_folder.sh BUILD MODEL: examples/c/classify_folder says the same with any number of threads, and
# what the command says; a broken picture is a line and an exit status.
set -u
build=$1
model=$2
work=$build/examples/folder
mkdir -p "$work"
printf 'no picture' >"$work/broken.jpg"

# shellcheck source=tests/checks.sh
. tests/checks.sh

for threads in 1 2 8; do
    "$build/classify_folder" "$model" $threads examples/demo/pictures/*.jpg "$work/broken.jpg" >"$work/$threads"
    check 'a broken picture is told by the status' [ $? = 1 ]
    check "$threads threads" cmp "$work/1" "$work/$threads"
done
check 'a broken picture is a line' grep -q "broken.jpg.error.[a-zA-Z]" "$work/1"
"$build/vmoe" classify --json --top 1 "$model" examples/demo/pictures/*.jpg |
    sed 's/.*"file": "\([^"]*\)".*"label": "\([^"]*\)", "probability": \([0-9.e-]*\).*/\1\t\2\t\3/' >"$work/command"
grep -v 'broken.jpg' "$work/1" >"$work/pictures"
check 'the command says the same' cmp "$work/command" "$work/pictures"
check 'a missing model' sh -c "! '$build/classify_folder' /nowhere.vmoe 1 x 2>'$work/log' && grep -q nowhere '$work/log'"
summary
