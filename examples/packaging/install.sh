#!/bin/sh
# install.sh install|uninstall ENTRY...: puts files below $DESTDIR, or takes them away again.
#
# An ENTRY is MODE:SOURCE:TARGET, or link:TEXT:TARGET for a symbolic link.  Uninstalling also removes
# the folders that are empty then, but neither $DESTDIR, nor $PREFIX as such, nor what every system
# has in /usr/local.
set -eu
verb=$1
shift

put() { # MODE SOURCE TARGET
    echo "  INSTALL $3"
    case $1 in
    link) ln -sfn "$2" "$3" ;;
    *) install -D -m "$1" "$2" "$3" ;;
    esac
}

kept() { # FOLDER
    case $DESTDIR$1 in
    "$PREFIX" | "$DESTDIR/") true ;;
    /usr/local/bin | /usr/local/include | /usr/local/lib) true ;;
    /usr/local/share | /usr/local/share/man) true ;;
    *) false ;;
    esac
}

take() { # TARGET
    rm -f "$DESTDIR$1"
    folder=$(dirname "$1")
    while ! kept "$folder" && rmdir "$DESTDIR$folder" 2>/dev/null; do
        folder=$(dirname "$folder")
    done
}

for entry; do
    mode=${entry%%:*}
    target=${entry##*:}
    source=${entry#"$mode":}
    source=${source%:"$target"}
    case $verb in
    install) put "$mode" "$source" "$DESTDIR$target" ;;
    uninstall) take "$target" ;;
    esac
done
