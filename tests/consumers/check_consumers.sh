#!/bin/sh
# check_consumers.sh BUILD [meson]: programs of users are built against an installed tree, with
# pkg-config and CMake (or with Meson).
#
# The tree is moved before it is used: pkg-config and CMake must find it where it is.  Its libraries are
# where Debian has them.
build=$1
with=${2:-pkg-config and CMake}
work=$PWD/$build/consumers
tree=$work/tree
multiarch=lib/$(cc -print-multiarch 2>/dev/null)
libdir=$tree/${multiarch%/}
# shellcheck source=tests/checks.sh
. tests/checks.sh
# shellcheck source=tests/consumers/consumers.sh
. tests/consumers/consumers.sh

rm -rf "$work"
mkdir -p "$work"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
check "make install" make install "CONFIG=${build##*/}" PREFIX="$work/first" \
    LIBDIR="$work/first/${multiarch%/}"
mv "$work/first" "$tree"
check "the installed command classifies" command_classifies
if [ "$with" = meson ]; then
    with_meson
else
    with_pkg_config
    with_cmake
fi
summary
