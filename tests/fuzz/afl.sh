#!/bin/sh
# Runs fuzz targets with AFL++, one after the other, and prints a table of what they did.
#
#     afl.sh BUILD OWN_SEEDS SECONDS TARGET...
build=$1 own=$2 seconds=$3
shift 3
here=$(dirname "$0")
export AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_AFFINITY=1

crashed=0
format='%-14s %12s %8s %8s %8s\n'
printf "$format" target executions paths crashes hangs
for target; do
    input=$build/in/$target output=$build/out/$target
    rm -rf "$input" "$output"
    mkdir -p "$input" "$output"
    printf x >"$input/x"
    for folder in "$own/$target" "$here/seeds/$target" "$here/regressions/$target"; do
        [ ! -d "$folder" ] || cp -r "$folder/." "$input"
    done
    afl-fuzz -i "$input" -o "$output" -V "$seconds" -t 2000 -m none -- "$build/fuzz_$target" \
        >"$output/log" 2>&1
    stat() { sed -n "s/^$1 *: *//p" "$output/default/fuzzer_stats" | head -n 1; }
    printf "$format" "$target" "$(stat execs_done)" "$(stat corpus_count)" \
        "$(stat saved_crashes)" "$(stat saved_hangs)"
    [ "$(stat saved_crashes)" = 0 ] && [ "$(stat saved_hangs)" = 0 ] || crashed=1
done
exit $crashed
