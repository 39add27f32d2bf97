#!/bin/sh
# check_dist.sh: the tarball builds and passes the short check where there is no git, and makes the
# same tarball again.
tarball=$PWD/build/libvmoe-$(cat VERSION).tar.gz
work=$PWD/build/dist
passed=0 failed=0

try() { # NAME COMMAND...
    echo "== $1"
    name=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $name"; fi
}

# A git that fails, and tells on whoever asked it.
rm -rf "$work"
mkdir -p "$work/bin"
printf '#!/bin/sh\ntouch %s\nexit 127\n' "$work/git-was-called" >"$work/bin/git"
chmod +x "$work/bin/git"
PATH=$work/bin:$PATH

tar -C "$work" -xf "$tarball"
cd "$work"/libvmoe-* || exit 1
try "build" make -j2 all
try "short check" make smoke
try "install" make install PREFIX="$work/tree"
try "tarball from a tarball" make dist
try "the same tarball" cmp build/libvmoe-*.tar.gz "$tarball"
try "git was not called" [ ! -e "$work/git-was-called" ]

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
