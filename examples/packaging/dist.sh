#!/bin/sh
# dist.sh: build/libvmoe-VERSION.tar.gz from the files that git tracks, as they are in the tree;
# where there is no git, in an unpacked tarball, from all files.  The same files give the same bytes:
# order, owners, modes and times are fixed, the time to the last commit's (or SOURCE_DATE_EPOCH).
set -eu
name=libvmoe-$(cat VERSION)
mkdir -p build
list=build/dist.list
if [ -e .git ]; then
    git ls-files -z | LC_ALL=C sort -z >$list
    time=$(git log -1 --format=%ct)
else
    find . -path ./build -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z >$list
    time=$(stat -c %Y VERSION)
fi
tar --create --null --files-from=$list --transform="flags=r;s|^|$name/|" --format=ustar \
    --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@${SOURCE_DATE_EPOCH:-$time}" >"build/$name.tar"
gzip -9nf "build/$name.tar"
rm $list
echo "build/$name.tar.gz"
