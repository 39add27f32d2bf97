#!/bin/sh
# install.sh install|uninstall ENTRY...: puts files below $DESTDIR, or takes them away again.
#
# An ENTRY is MODE:SOURCE:TARGET, or link:TEXT:TARGET for a symbolic link.  Uninstalling also removes
# the folders that are empty then, but neither $DESTDIR, nor $PREFIX as such, nor what every system
# has in /usr/local.  The loader hears of a library that comes to $LIBDIR or goes.
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

# Programs find a library of the system's own folders by the loader's cache, which root can renew.
tell_loader() {
    case $DESTDIR$LIBDIR/ in
    /lib/* | /lib64/* | /usr/lib/* | /usr/lib64/* | /usr/local/lib/* | /usr/local/lib64/*)
        [ "$(id -u)" != 0 ] || ! command -v ldconfig >/dev/null || ldconfig ;;
    esac
}

# Folders of a prefix that ends with a slash have two slashes, which dirname keeps.
plain() { # PATH
    printf '%s\n' "$1" | sed 's|//*|/|g; s|\(.\)/$|\1|'
}

# Before anything is done: of a folder with a space, make passes on the parts.
for entry; do
    case $entry in
    *:*:*:*) ;;
    *:*:*) continue ;;
    esac
    echo "install.sh: '$entry': folders without spaces or colons are expected" >&2
    exit 1
done
PREFIX=$(plain "$PREFIX") LIBDIR=$(plain "$LIBDIR")
for entry; do
    mode=${entry%%:*}
    source=${entry#"$mode":}
    source=${source%:*}
    target=$(plain "${entry##*:}")
    case $verb in
    install) put "$mode" "$source" "$DESTDIR$target" ;;
    uninstall) take "$target" ;;
    esac
done
tell_loader
