#!/bin/sh
# check_docs.sh BUILD PYTHON MODEL: every code block of the documentation runs against an installed
# tree, links lead somewhere, and the reference is made without a warning.
build=$1 python=$2 model=$3
work=$build/docs
# shellcheck source=tests/checks.sh
. tests/checks.sh

# Of Markdown links that are paths, those that lead nowhere.
dead_links() {
    for file in README.md docs/*.md examples/*/README.md tests/*/README.md bench/README.md; do
        grep -o '](\([^)#:]*\)[)#]' "$file" | sed 's/^](//; s/[)#]$//' | sort -u |
            while read -r link; do
                [ -z "$link" ] || [ -e "$(dirname "$file")/$link" ] || echo "$file: $link"
            done
    done
}

no_dead_links() {
    dead_links
    [ -z "$(dead_links)" ]
}

# A block that fails must be noticed, or nothing here means anything.
broken_block_fails() {
    mkdir -p "$work/tests/docs" "$work/examples/demo"
    cp tests/docs/run_blocks.py "$work/tests/docs"
    cp -R examples/demo/pictures "$work/examples/demo"
    mkdir -p "$work/tests/data"
    cp -R tests/data/golden "$work/tests/data"
    printf '```sh\nvmoe info model.vmoe\n```\n```sh\nvmoe info missing.vmoe\n```\n' >"$work/README.md"
    "$python" "$work/tests/docs/run_blocks.py" "$build/docs-tree" "$model" >"$work/broken.out"
    [ $? -eq 1 ] && grep -q "^1 passed, 1 failed" "$work/broken.out"
}

rm -rf "$work"
mkdir -p "$work"
check "an installed tree" make install "CONFIG=${build##*/}" PREFIX="$PWD/$build/docs-tree"
check "no link leads nowhere" no_dead_links
check "the reference has no warnings" sh tests/docs/reference.sh "$work/reference"
check "a block that fails is noticed" broken_block_fails
"$python" tests/docs/run_blocks.py "$build/docs-tree" "$model" >"$work/blocks.out" 2>&1
status=$?
cat "$work/blocks.out"
result $status "every block of the documentation runs"
passed=$((passed + $(grep -c '^ok - [^#]*$' "$work/blocks.out")))
skipped=$(grep -c '^ok - .*# skip' "$work/blocks.out")
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
