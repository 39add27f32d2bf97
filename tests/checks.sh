# What the shell tests share: a line for each test, what a failed command said, and a summary.  A test
# sources this file and has set `work`, the folder of its own files.
# shellcheck shell=sh disable=SC2154
passed=0
failed=0
skipped=0

result() { # STATUS NAME
    if [ "$1" -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok - $2"
    else
        failed=$((failed + 1))
        echo "not ok - $2"
    fi
}

check() { # NAME COMMAND...: the command succeeds
    name=$1
    shift
    "$@" >"$work/check.out" 2>&1
    status=$?
    result $status "$name"
    [ $status -eq 0 ] || sed 's/^/#   /' "$work/check.out"
}

skip() { # NAME REASON
    skipped=$((skipped + 1))
    echo "ok - $1 # skip: $2"
}

# The last command of a test: its status is that of the test.
summary() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}
