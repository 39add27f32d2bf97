#!/bin/sh
# check_examples.sh BUILD MODEL: the programs of examples/c say what the command says.  A broken
# picture is a line and an exit status, whatever the number of threads.
build=$1
model=$2
work=$build/examples/checked
pictures=examples/demo/pictures
# shellcheck source=tests/checks.sh
. tests/checks.sh

minimal_says_the_class() {
    "$build/minimal" "$model" $pictures/bag.jpg | grep -q '^8 Bag (9[0-9.]* %)$'
}

refuses() { # WORDS PROGRAM...: the status is 1 and the error has these words
    words=$1
    shift
    "$@" >"$work/out" 2>"$work/error"
    [ $? -eq 1 ] && grep -q "$words" "$work/error"
}

rm -rf "$work"
mkdir -p "$work/folder" "$work/empty"
cp $pictures/*.jpg "$work/folder"
printf 'no picture' >"$work/folder/broken.JPEG"
printf 'ignored' >"$work/folder/notes.txt"
"$build/vmoe" classify --json --top 1 "$model" $pictures/*.jpg |
    sed 's|.*"file": "[^"]*/\([^"]*\)".*"index": \([0-9]*\), "label": "\([^"]*\)", "probability": \([0-9.e-]*\).*|\1\t\2\t\3\t\4|' |
    sort >"$work/command"

check "minimal" minimal_says_the_class

for threads in 1 2 8; do
    "$build/classify_folder" "$model" "$work/folder" $threads >"$work/$threads" 2>"$work/summary"
    result $((! ($? == 1))) "classify_folder: a broken picture is told by the status"
    check "... $threads threads say the same" cmp "$work/1" "$work/$threads"
done
check "... a broken picture is a line" grep -q "^broken.JPEG.error.[a-zA-Z]" "$work/1"
check "... and is counted" grep -qx "11 pictures, 1 broken" "$work/summary"
grep -v 'broken.JPEG' "$work/1" | sort >"$work/pictures"
check "... the command says the same" cmp "$work/command" "$work/pictures"
check "... an empty folder" "$build/classify_folder" "$model" "$work/empty"
check "... a missing folder" refuses "nowhere" "$build/classify_folder" "$model" /nowhere
check "... a missing model" refuses "nowhere" "$build/classify_folder" /nowhere.vmoe "$work/folder"

# Deadlines that every machine holds, and that none does.
hold() { # MILLISECONDS: lines of capacity and whether in time
    "$build/hold_deadline" "$model" "$1" $pictures/*.jpg >"$work/held" && cut -f2,4 "$work/held"
}
expected() { # FIRST REST WHEN
    printf '%s\t%s\n' "$1" "$3"
    for _ in 2 3 4 5 6 7 8 9 10; do printf '%s\t%s\n' "$2" "$3"; done
}
expected 0.158 1.050 "in time" >"$work/expected"
hold 1000000 | cmp - "$work/expected"
result $? "hold_deadline: with time enough it climbs to the whole model"
expected 0.158 0.158 late >"$work/expected"
hold 0.0001 | cmp - "$work/expected"
result $? "... without any it stays at the least"
printf '%s\n/nowhere.jpg\n' $pictures/bag.jpg | "$build/hold_deadline" "$model" 1000000 >"$work/lines"
result $((! ($? == 1))) "... a path that cannot be read is told by the status"
check "... the class of a line" grep -q "8.Bag$" "$work/lines"
check "... and a line" grep -q "^/nowhere.jpg.error" "$work/lines"
check "... a missing model" refuses "nowhere" "$build/hold_deadline" /nowhere.vmoe 5

# A file that says groups of eight: one picture alone is a group of its own.
grouped=$work/grouped.vmoe
"$build/vmoe" import tests/data/golden/models/gap/model -o "$grouped" --group-images 8
mkdir "$work/one"
cp $pictures/bag.jpg "$work/one"
"$build/vmoe" classify --json --top 1 --group image "$grouped" $pictures/bag.jpg |
    sed 's|.*"index": \([0-9]*\),.*|\1|' >"$work/class"
check "groups in the file: minimal" sh -c "'$build/minimal' '$grouped' $pictures/bag.jpg | cut -d' ' -f1 | cmp - '$work/class'"
check "... classify_folder" sh -c "'$build/classify_folder' '$grouped' '$work/one' | cut -f2 | cmp - '$work/class'"
"$build/hold_deadline" "$grouped" 1000000 $pictures/bag.jpg $pictures/bag.jpg $pictures/bag.jpg >"$work/held"
result $? "... hold_deadline"
check "... with answers in time" [ "$(grep -c 'in time' "$work/held")" = 3 ]

usage() { # PROGRAM ARGUMENT...
    "$@" >"$work/out" 2>"$work/error" </dev/null
    [ $? -eq 2 ] && [ ! -s "$work/out" ] && grep -q '^usage: ' "$work/error"
}

for number in 0 -1 5x inf nan 1e12 ''; do
    check "hold_deadline: '$number' is no time" usage "$build/hold_deadline" "$model" "$number"
    check "classify_folder: '$number' is no number" usage "$build/classify_folder" "$model" "$work/folder" "$number"
done

summary
