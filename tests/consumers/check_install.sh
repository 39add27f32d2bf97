#!/bin/sh
# check_install.sh BUILD PYTHON: what `make install` puts where, that it says the truth, and that
# `make uninstall` leaves nothing.
build=$1 python=$2
work=$PWD/$build/install
version=$(cat VERSION)
# shellcheck source=tests/checks.sh
. tests/checks.sh

make_quietly() {
    make "CONFIG=${build##*/}" "$@"
}

# ---- Files ----

# Permissions and names below the tree, links with where they lead.
list() { # TREE
    (cd "$1" && find . -type f -printf '%m %P\n' -o -type l -printf 'link %P %l\n' | LC_ALL=C sort)
}

expect() { # LIBDIR: the tree is this
    LC_ALL=C sort >"$work/expected" <<FILES
644 include/vmoe.h
644 include/vmoe.hpp
644 $1/libvmoe.a
755 $1/libvmoe.so.$version
link $1/libvmoe.so.0 libvmoe.so.$version
link $1/libvmoe.so libvmoe.so.0
644 $1/pkgconfig/libvmoe.pc
644 $1/cmake/vmoe/vmoe-config.cmake
644 $1/cmake/vmoe/vmoe-config-version.cmake
755 bin/vmoe
644 share/bash-completion/completions/vmoe
644 share/man/man1/vmoe.1
644 share/man/man3/libvmoe.3
644 share/man/man5/vmoe-format.5
644 share/doc/libvmoe/examples/second_reader.py
644 share/doc/libvmoe/examples/xxh3.py
$(for page in SECURITY abi checkpoints dial embedding faq format porting reliability semantics tutorial; do
    echo "644 share/doc/libvmoe/docs/$page.md"
done)
644 share/doc/libvmoe/docs/experts.svg
644 share/doc/libvmoe/docs/routes.jpg
644 share/doc/libvmoe/docs/sweep.svg
644 share/doc/libvmoe/docs/sweep.tsv
FILES
    list "$2" | diff "$work/expected" -
}

no_text_has() { # PATTERN
    ! grep -rIlE "$1" "$staged"
}

nothing_left() { # TREE
    [ -z "$(find "$1" -mindepth 1 -print -quit)" ]
}

stage() { # TARGET
    make_quietly "$1" DESTDIR="$staged" PREFIX=/usr "LIBDIR=/usr/$multiarch"
}

# Root installs what somebody else has made, who could not remove or renew a file of root's.
install_makes_no_file() {
    rm -rf "$build/packaging"
    make_quietly all && find "$build" -path "$build/install" -prune -o -print >"$work/before" &&
        stage install && find "$build" -path "$build/install" -prune -o -print | diff "$work/before" -
}

multiarch=lib/some-linux-gnu
staged="$work/a stage"
rm -rf "$work"
mkdir -p "$work"
check "install finds all files made" install_makes_no_file
check "everything is in its place" expect $multiarch "$staged/usr"
check "libvmoe.pc names the plain folders" grep -qx "libdir=\${prefix}/$multiarch" \
    "$staged/usr/$multiarch/pkgconfig/libvmoe.pc"
check "no file knows where it was built" no_text_has "$work"
check "no @NAME@ is left of a template" no_text_has "@[A-Z_]+@"
check "uninstall below DESTDIR" stage uninstall
check "... leaves nothing" nothing_left "$staged"

tree=$work/tree
mkdir -p "$tree/share/man/man1"
touch "$tree/share/man/man1/other.1"
check "lower-case names install as well" make_quietly install prefix="$tree" libdir="$tree/lib64"
rm "$tree/share/man/man1/other.1"
check "everything is in its place" expect lib64 "$tree"

refuses_folder() { # TARGET FOLDER
    ! make_quietly "$1" PREFIX="$2" >"$work/refused" 2>&1 && grep -q 'without spaces or colons' "$work/refused"
}

touch "$work/my"
check "a folder with a space is refused" refuses_folder install "$work/my tree"
check "... to uninstall as well" refuses_folder uninstall "$work/my tree"
check "... and nothing is put or taken" cmp "$work/my" /dev/null
check "a folder with a colon is refused" refuses_folder install "$work/my:tree"

# A loader's cache that is not the system's.
mkdir "$work/bin"
printf '#!/bin/sh\necho 0\n' >"$work/bin/id"
printf '#!/bin/sh\necho told\n' >"$work/bin/ldconfig"
chmod +x "$work"/bin/*

loader() { # DESTDIR LIBDIR
    DESTDIR=$1 LIBDIR=$2 PREFIX=/usr PATH=$work/bin:$PATH sh examples/packaging/install.sh install
}

check "the loader hears of /usr/lib" [ "$(loader "" /usr/lib)" = told ]
check "... and of /usr//lib, of a prefix that ends with a slash" [ "$(loader "" /usr//lib)" = told ]
check "... and of /usr/$multiarch" [ "$(loader "" /usr/$multiarch)" = told ]
check "... not of other folders" [ -z "$(loader "" /opt/lib)$(loader "" /usr/libexec)" ]
check "... nor of what is set aside" [ -z "$(loader "$staged" /usr/lib)" ]

ends_with_slash() { # VERB
    DESTDIR="" PREFIX=$work/opt/vmoe/ LIBDIR=$work/opt/vmoe//lib \
        sh examples/packaging/install.sh "$1" "644:VERSION:$work/opt/vmoe//lib/VERSION"
}

only_prefix_left() {
    [ "$(find "$work/opt")" = "$(printf '%s\n' "$work/opt" "$work/opt/vmoe")" ]
}

check "a prefix may end with a slash" ends_with_slash install
check "... to uninstall as well" ends_with_slash uninstall
check "... which leaves the prefix, and where it is" only_prefix_left

# ---- Contents ----

soname() {
    readelf -d "$tree/lib64/libvmoe.so" | sed -n 's/.*SONAME.*\[\(.*\)\].*/\1/p'
}

commands() {
    "$tree/bin/vmoe" help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'
}

words_with_hyphens() {
    grep -oE '(^|[][ ,("])--?[a-zA-Z][a-z-]*' | tr -d '][,(" ' | sort -u
}

# A section of a page as plain words.
section() { # NAME
    sed -n "/^\.SS $1\$/,/^\.S[SH]/p" "$tree/share/man/man1/vmoe.1" | sed 's/\\-/-/g; s/\\f[BIR]//g'
}

page_has_options() {
    for command in $(commands); do
        "$tree/bin/vmoe" "$command" --help | words_with_hyphens >"$work/help"
        [ -s "$work/help" ] || return 1
        section "$command" | words_with_hyphens | diff "$work/help" - || return 1
    done
}

page_has_functions() {
    sed -n 's/^VMOE_API .*\(vmoe_[a-z0-9_]*\)(.*/\1/p' include/vmoe.h >"$work/functions"
    [ -s "$work/functions" ] || return 1
    while read -r function; do
        grep -q "$function(" "$tree/share/man/man3/libvmoe.3" || { echo "$function"; return 1; }
    done <"$work/functions"
}

page_has_tables() {
    grep -q '^\.TS' "$tree/share/man/man5/vmoe-format.5" &&
        [ "$(grep -c '^\.SH [0-9]' "$tree/share/man/man5/vmoe-format.5")" -ge 10 ]
}

# What the manuals and the header call docs/NAME.md, where vmoe.1 and libvmoe.3 say that it is.
manuals_lead_to_pages() {
    for manual in man1/vmoe.1 man3/libvmoe.3; do
        [ "$(sed -n '/^\.SH FILES/{n;n;s/^\.I //;s/\\-/-/g;p;}' "$tree/share/man/$manual")" = \
            "$tree/share/doc/libvmoe/docs" ] || { echo "$manual"; return 1; }
    done
    grep -rhoE 'docs/[a-zA-Z]+\.md' "$tree/include" "$tree/share/man" >"$work/pages"
    [ -s "$work/pages" ] || return 1
    while read -r page; do
        [ -f "$tree/share/doc/libvmoe/$page" ] || { echo "$page"; return 1; }
    done <"$work/pages"
}

links_lead_somewhere() (
    cd "$tree/share/doc/libvmoe/docs" || exit 1
    grep -hoE '\]\([^)#]+' ./*.md | cut -c3- | sort -u >"$work/links"
    grep -qx sweep.svg "$work/links" || exit 1
    while read -r link; do
        [ -f "$link" ] || { echo "$link"; exit 1; }
    done <"$work/links"
)

pages_are_clean() {
    ! mandoc -T lint -W warning "$tree"/share/man/man?/* | grep -v 'missing date'
}

reader_agrees() {
    model=examples/demo/fashion-mnist.vmoe
    id=$("$tree/bin/vmoe" info --json $model | sed -n 's/.*"id": "\([0-9a-f]*\)".*/\1/p')
    [ -n "$id" ] && "$python" -B "$tree/share/doc/libvmoe/examples/second_reader.py" $model |
        grep "$id"
}

check "the library has its soname" [ "$(soname)" = libvmoe.so.0 ]
check "the command has the version" [ "$("$tree/bin/vmoe" --version)" = "vmoe $version" ]
check "vmoe.1 has every option of every command" page_has_options
check "libvmoe.3 has every function" page_has_functions
check "vmoe-format.5 has sections and tables" page_has_tables
check "the manuals lead to the pages of docs" manuals_lead_to_pages
check "links in them lead somewhere" links_lead_somewhere
check "mandoc has nothing against the pages" pages_are_clean
check "completion knows what the command knows" bash tests/consumers/completion.bash "$tree"
check "the second reader reads" reader_agrees

check "uninstall" make_quietly uninstall prefix="$tree" libdir="$tree/lib64"
check "... leaves nothing" nothing_left "$tree"

summary
