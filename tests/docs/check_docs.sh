#!/bin/sh
# check_docs.sh BUILD PYTHON MODEL: every code block of the documentation runs against an installed
# tree, links lead somewhere, and the reference is made without a warning.
build=$1 python=$2 model=$3
work=$build/docs
# shellcheck source=tests/checks.sh
. tests/checks.sh

# The anchors of a page's headings, as GitHub makes them.
anchors_of() {
    sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

leads_somewhere() { # FILE LINK
    target=$1
    [ -z "${2%%#*}" ] || target=$(dirname "$1")/${2%%#*}
    [ -e "$target" ] || return
    case $2 in
    *"#"*) anchors_of "$target" | grep -qxF -e "${2#*#}" ;;
    esac
}

# Of Markdown links that are paths or anchors, those that lead nowhere.
dead_links() {
    for file in "$@"; do
        grep -o ']([^):]*)' "$file" | sed 's/^](//; s/)$//' | sort -u |
            while read -r link; do
                leads_somewhere "$file" "$link" || echo "$file: $link"
            done
    done
}

no_dead_links() {
    dead=$(dead_links README.md docs/*.md examples/*/README.md tests/*/README.md bench/README.md)
    echo "$dead"
    [ -z "$dead" ]
}

# Links that lead nowhere must be noticed, or the check above means nothing.
dead_links_are_noticed() {
    cat >"$work/links.md" <<'PAGE'
## A heading: `--with`, a Title
[good](links.md) [good](#a-heading---with-a-title) [good](links.md#a-heading---with-a-title)
[a](none.md)
[b](none.md#a-heading---with-a-title)
[c](links.md#a-heading)
[d](#none)
PAGE
    dead_links "$work/links.md"
    [ "$(dead_links "$work/links.md" | wc -l)" -eq 4 ]
}

# README.md and docs/dial.md both show what the dial does to accuracy.
dial_of() {
    grep -E '^\| (C|[0-9.]+( \(nothing dropped\))?) \|' "$1"
}

same_dial() {
    [ -n "$(dial_of README.md)" ] && [ "$(dial_of README.md)" = "$(dial_of docs/dial.md)" ]
}

run_blocks() {
    "$python" -B tests/docs/run_blocks.py "$build/docs-tree" "$model" "$@"
}

# A block that fails must be noticed, or nothing here means anything.
broken_blocks_fail() {
    cat >"$work/broken.md" <<'PAGE'
```sh
vmoe info model.vmoe
```
```sh
vmoe info missing.vmoe
```
```console
$ vmoe verify model.vmoe
model.vmoe: broken
$ vmoe ...
```
<!-- needs: a-program-that-nobody-has -->
```python
raise SystemExit("it is not run")
```
PAGE
    ! run_blocks "$work/broken.md" >"$work/broken.out" && grep -q "^1 passed, 2 failed, 1 skipped" "$work/broken.out"
}

rm -rf "$work"
mkdir -p "$work"
check "an installed tree" make install "CONFIG=${build##*/}" PREFIX="$PWD/$build/docs-tree"
check "no link leads nowhere" no_dead_links
check "a link that leads nowhere is noticed" dead_links_are_noticed
check "the table of the dial is the same on both pages" same_dial
check "the reference has no warnings" sh tests/docs/reference.sh "$work/reference"
check "a block that fails is noticed" broken_blocks_fail
run_blocks >"$work/blocks.out" 2>&1
status=$?
cat "$work/blocks.out"
result $status "every block of the documentation runs"
passed=$((passed + $(grep -c '^ok - [^#]*$' "$work/blocks.out")))
skipped=$(grep -c '^ok - .*# skip' "$work/blocks.out")
summary
