#!/bin/sh
# Runs fuzz targets one after the other and prints a table of what they did.
#
#     run.sh BUILD OWN_SEEDS SECONDS RUNS TARGET...
#
# Each ends after SECONDS or RUNS executions (0: no limit), or at its first crash.  What is found
# stays in BUILD/corpus and BUILD/crashes; the engine's own words are in BUILD/logs.  Time is the
# clock's: on a busy machine FUZZ_TIMEOUT=20 keeps others from being blamed.
build=$1 own=$2 seconds=$3 runs=$4
shift 4
here=$(dirname "$0")
[ "$runs" -gt 0 ] || runs=-1
mkdir -p "$build/crashes" "$build/logs"
# A sanitizer keeps freed memory for a while; that is not the library's memory.
export ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=1:allocator_may_return_null=1

stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
last() { sed -n "s/.* $1: \([0-9]*\).*/\1/p" "$log" | tail -n 1; }

crashed=0
format='%-14s %12s %8s %7s %9s %8s %8s\n'
printf "$format" target executions exec/s edges features "peak MB" crashes
for target; do
    log=$build/logs/$target.log
    mkdir -p "$build/corpus/$target"
    set --
    for folder in "$own/$target" "$here/seeds/$target" "$here/regressions/$target"; do
        [ ! -d "$folder" ] || set -- "$@" "$folder"
    done
    dictionary=$here/dictionaries/$target.dict
    [ ! -f "$dictionary" ] || set -- "-dict=$dictionary" "$@"
    "$build/fuzz_$target" -max_total_time="$seconds" -runs="$runs" -timeout="${FUZZ_TIMEOUT:-2}" -rss_limit_mb=512 \
        -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="$build/crashes/$target-" \
        "$build/corpus/$target" "$@" >"$log" 2>&1
    crashes=$(($? != 0))
    crashed=$((crashed | crashes))
    printf "$format" "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
        "$(last cov)" "$(last ft)" "$(stat peak_rss_mb)" $crashes
done
exit $crashed
