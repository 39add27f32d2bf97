#!/bin/sh
# check_dist.sh: the tarball builds and passes the short check where there is no git, and makes the
# same tarball again.
tarball=$PWD/build/libvmoe-$(cat VERSION).tar.gz
work=$PWD/build/dist
# shellcheck source=tests/checks.sh
. tests/checks.sh

# A git that fails, and tells on whoever asked it.
rm -rf "$work"
mkdir -p "$work/bin"
printf '#!/bin/sh\ntouch %s\nexit 127\n' "$work/git-was-called" >"$work/bin/git"
chmod +x "$work/bin/git"
PATH=$work/bin:$PATH

tar -C "$work" -xf "$tarball"
cd "$work"/libvmoe-* || exit 1
check "build" make -j2 all
check "short check" make smoke
check "install" make install PREFIX="$work/tree"
check "tarball from a tarball" make dist
check "the same tarball" cmp build/libvmoe-*.tar.gz "$tarball"
check "git was not called" [ ! -e "$work/git-was-called" ]

summary
