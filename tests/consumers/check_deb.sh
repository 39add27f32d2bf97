#!/bin/sh
# check_deb.sh: the Debian packages are installed below a folder of their own, programs of users are
# built against them and answer as the packaged command, and purging them leaves nothing.
#
# --force-depends, because the packages they need are not in that folder but on the machine.
root=$PWD/build/deb/root
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
tree=$root/usr
libdir=$tree/lib/$triplet
work=$PWD/build/deb/check
# shellcheck source=tests/checks.sh
. tests/checks.sh
# shellcheck source=tests/consumers/consumers.sh
. tests/consumers/consumers.sh

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

export PKG_CONFIG_LIBDIR="$libdir/pkgconfig:/usr/lib/$triplet/pkgconfig"
export PKG_CONFIG_SYSROOT_DIR="$root"
rm -rf "$root" "$work"
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$work"
touch "$root/var/lib/dpkg/status"

check "install" package_tool --install build/deb/libvmoe0_*.deb build/deb/libvmoe-dev_*.deb \
    build/deb/vmoe-tools_*.deb
check "the packaged command classifies" command_classifies
with_pkg_config
with_cmake
with_meson
check "the documentation is as its links have it" ls "$tree"/share/doc/libvmoe-dev/docs/dial.md \
    "$tree"/share/doc/libvmoe-dev/docs/sweep.svg "$tree"/share/doc/libvmoe-dev/docs/sweep.tsv
check "purge" package_tool --purge vmoe-tools libvmoe-dev libvmoe0
check "nothing is left" nothing_left

summary
