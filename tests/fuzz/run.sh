#!/bin/sh
# Runs fuzz targets one after the other and prints a table of what they did.
#
#     run.sh BUILD SEEDS SECONDS RUNS TARGET...
#
# Each ends after SECONDS or RUNS executions (0: no limit), or at its first crash.  What is found
# stays in BUILD/corpus and BUILD/crashes; the engine's own words are in BUILD/logs.
build=$1 seeds=$2 seconds=$3 runs=$4
shift 4
here=$(dirname "$0")
[ "$runs" -gt 0 ] || runs=-1
mkdir -p "$build/crashes" "$build/logs"
# A sanitizer keeps freed memory for a while; that is not the library's memory.
export ASAN_OPTIONS=quarantine_size_mb=8:detect_leaks=1:allocator_may_return_null=1

stat() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }

crashed=0
format='%-14s %14s %10s %7s %9s %8s %8s\n'
printf "$format" target executions exec/s edges features "peak MB" crashes
for target; do
    log=$build/logs/$target.log
    corpus=$build/corpus/$target
    mkdir -p "$corpus"
    dictionary=
    [ -f "$here/dictionaries/$target.dict" ] && dictionary=-dict=$here/dictionaries/$target.dict
    "$build/fuzz_$target" -max_total_time="$seconds" -runs="$runs" -timeout=2 -rss_limit_mb=512 \
        -malloc_limit_mb=512 -print_final_stats=1 -artifact_prefix="$build/crashes/$target-" \
        $dictionary "$corpus" "$seeds/$target" >"$log" 2>&1
    crashes=0
    [ $? -eq 0 ] || crashes=1 crashed=1
    last=$(grep -E ' cov: ' "$log" | tail -n 1)
    printf "$format" "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
        "$(echo "$last" | sed -n 's/.* cov: \([0-9]*\).*/\1/p')" \
        "$(echo "$last" | sed -n 's/.* ft: \([0-9]*\).*/\1/p')" "$(stat peak_rss_mb)" $crashes
done
exit $crashed
