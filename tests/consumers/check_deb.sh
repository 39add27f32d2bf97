#!/bin/sh
# check_deb.sh: the Debian packages are installed below a folder of their own, a user's program is
# built against them and answers as the packaged command, and purging them leaves nothing.
#
# --force-depends, because the packages they need are not in that folder but on the machine.
root=$PWD/build/deb/root
model=examples/demo/fashion-mnist.vmoe
picture=examples/demo/pictures/bag.jpg
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
libdir=$root/usr/lib/$triplet
work=build/deb
# shellcheck source=tests/checks.sh
. tests/checks.sh

package_tool() {
    dpkg --root="$root" --force-not-root --force-depends --force-script-chrootless \
        --log=/dev/null "$@" >>build/deb/root.log 2>&1
}

files() {
    find "$root" -path "$root/var" -prune -o -type f -print -o -type l -print
}

nothing_left() {
    files
    [ -z "$(files)" ]
}

answers() {
    "$root/usr/bin/vmoe" classify --json --top 3 $model $picture | grep -o '"index": [^}]*' \
        >build/deb/expected
    [ "$(wc -l <build/deb/expected)" = 3 ] &&
        LD_LIBRARY_PATH=$libdir build/deb/classify $model $picture | cmp - build/deb/expected
}

export PKG_CONFIG_LIBDIR="$libdir/pkgconfig:/usr/lib/$triplet/pkgconfig"
export PKG_CONFIG_SYSROOT_DIR="$root"
rm -rf "$root"
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
touch "$root/var/lib/dpkg/status"

check "install" package_tool --install build/deb/libvmoe0_*.deb build/deb/libvmoe-dev_*.deb \
    build/deb/vmoe-tools_*.deb
# shellcheck disable=SC2046
check "compile" cc tests/consumers/classify.c -o build/deb/classify \
    $(pkg-config --cflags --libs libvmoe)
check "run" answers
check "purge" package_tool --purge vmoe-tools libvmoe-dev libvmoe0
check "nothing is left" nothing_left

summary
