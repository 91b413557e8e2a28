#!/bin/sh
# fuzz.sh BUILD TARGET ... - run fuzz targets one after another, FUZZ_SECONDS each, from their seeds and from what
# earlier runs found worth keeping (BUILD/corpus). What breaks one is kept in BUILD/found.
set -u
build=$1
shift
passed=0 failed=0 executions=0
for target in "$@"; do
    name=${target#fuzz_}
    mkdir -p "$build/corpus/$name" "$build/found"
    dictionary=tests/fuzz/$target.dict
    log=$build/$target.log
    set -- -max_total_time="${FUZZ_SECONDS:-30}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/found/$name-"
    [ -f "$dictionary" ] && set -- "$@" -dict="$dictionary"
    if nice -n 19 "$build/tests/fuzz/$target" "$@" "$build/corpus/$name" "tests/fuzz/seeds/$name" >"$log" 2>&1; then
        passed=$((passed + 1))
        ran=$(awk '/stat::number_of_executed_units/ { print $2 }' "$log")
        executions=$((executions + ran))
        echo "$target: $ran executions," \
            "$(awk '/cov: / { cover = $0 } END { sub(/.*cov: /, "", cover); sub(/ .*/, "", cover); print cover }' "$log")" \
            "edges, nothing found"
    else
        failed=$((failed + 1))
        tail -n 40 "$log"
        echo "FAILED $target: once it is mended, copy the input to tests/fuzz/seeds/$name/, and it is a test"
    fi
done
echo "counts: fuzz executions=$executions"
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
