#!/bin/sh
# sysroot.sh ARCHITECTURE FOLDER: the libraries of libvmoe and of its tests for another Debian
# architecture, unpacked below FOLDER; nothing of them is installed.  The compiler comes from Debian's
# cross packages.
set -eu
architecture=$1 folder=$2
root=
[ "$(id -u)" = 0 ] || root=sudo
if ! dpkg --print-foreign-architectures | grep -qx "$architecture"; then
    $root dpkg --add-architecture "$architecture"
fi
mkdir -p "$folder/packages"
cd "$folder/packages"
packages=
for package in zlib1g zlib1g-dev libjpeg62-turbo libjpeg62-turbo-dev libcmocka0 libcmocka-dev; do
    packages="$packages $package:$architecture"
done
# shellcheck disable=SC2086
apt-get download -qq $packages 2>/dev/null || { $root apt-get update -qq || true; apt-get download -qq $packages; }
apt-get download -qq libxxhash-dev # a header
for package in *.deb; do
    dpkg-deb -x "$package" ..
done
touch ../complete
