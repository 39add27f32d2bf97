#!/bin/sh
# deb.sh: the Debian packages libvmoe0, libvmoe-dev and vmoe-tools from the tarball, in build/deb.
# $DEBFULLNAME and $DEBEMAIL sign for them, as everywhere in Debian.
set -eu
version=$(cat VERSION)
maintainer="${DEBFULLNAME:-libvmoe authors} <${DEBEMAIL:-packages@libvmoe.invalid}>"
rm -rf build/deb
mkdir -p build/deb
cp "build/libvmoe-$version.tar.gz" "build/deb/libvmoe_$version.orig.tar.gz"
cd build/deb
tar -xf "libvmoe_$version.orig.tar.gz"
cd "libvmoe-$version"
cp -R examples/packaging/debian debian
date=$(date -R -u -r VERSION)
sed -i -e "s|@VERSION@|$version|" -e "s|@MAINTAINER@|$maintainer|" -e "s|@DATE@|$date|" \
    debian/control debian/changelog
dpkg-buildpackage --no-sign
