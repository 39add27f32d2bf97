#!/bin/sh
# Runs test programs one after the other and adds up what they counted.  Each argument is a command.
# A program that ends badly without having counted a failure counts as one, and so does one that
# counts nothing.  The last line is "N passed, N failed, N skipped", and the exit status is 1 if
# anything failed.
passed=0 failed=0 skipped=0
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# The first number in the last line of the log that matches, or 0.
number() { grep -E "$1" "$log" | tail -n 1 | grep -oE '[0-9]+' | head -n 1 | grep . || echo 0; }

for command in "$@"; do
    printf '\n== %s\n' "$command"
    { $command 2>&1; echo "$?" >"$log.status"; } | tee "$log"
    status=$(cat "$log.status")
    rm -f "$log.status"
    p=0 f=0 s=0
    if grep -qE '^\[==========\] .* run\.$' "$log"; then # cmocka
        p=$(number '^\[  PASSED  \] [0-9]+ test')
        f=$(number '^\[  FAILED  \] [0-9]+ test')
        s=$(number '^\[  SKIPPED \] [0-9]+ test')
    elif grep -qE '^Ran [0-9]+ tests? in' "$log"; then # Python's unittest
        f=$(($(grep -oE 'failures=[0-9]+' "$log" | cut -d= -f2 | grep . || echo 0) +
             $(grep -oE 'errors=[0-9]+' "$log" | cut -d= -f2 | grep . || echo 0)))
        s=$(grep -oE 'skipped=[0-9]+' "$log" | cut -d= -f2 | grep . || echo 0)
        p=$(($(number '^Ran [0-9]+ tests? in') - f - s))
    elif grep -qE '^[0-9]+ passed, [0-9]+ failed' "$log"; then # our own scripts
        line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
        p=$(echo "$line" | cut -d' ' -f1)
        f=$(echo "$line" | cut -d' ' -f3)
        s=$(echo "$line" | sed -n 's/.* \([0-9]*\) skipped.*/\1/p' | grep . || echo 0)
    fi
    if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then
        echo "== $command ended with status $status"
        f=1
    elif [ $((p + f + s)) -eq 0 ]; then
        echo "== $command counted nothing"
        f=1
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

echo
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
