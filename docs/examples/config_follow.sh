#!/bin/sh
# Configuration for many readers, the side of a reader: a file that is always up to date.
#
#   config_follow.sh APP FILE [COMMAND...]     e.g. config_follow.sh shop shop.conf reload-shop
#
# Writes all settings below config/APP/ to FILE as NAME=VALUE lines, now and after each change,
# prints the revision they are of, and runs COMMAND. The watch begins behind the revision first
# read, so that no change is missed. After a change everything is read again as of one revision:
# what config_publish.sh wrote at once arrives at once, and FILE is replaced as a whole.
# Any number of readers may follow. Values may not contain line breaks.
set -eu
export ETCDCTL_API=3
prefix=config/$1/ file=$2
shift 2

revision_of() { # the revision a line of JSON speaks of
    printf '%s\n' "$1" | sed 's/.*"revision":\([0-9]*\).*/\1/'
}

write_as_of() { # the settings at a revision
    etcdctl get --prefix "$prefix" --rev="$1" >"$file.read"
    paste -d= - - <"$file.read" | sed "s|^$prefix||" >"$file.new"
    mv "$file.new" "$file"
    rm "$file.read"
    echo "revision $1"
}

revision=$(revision_of "$(etcdctl get "$prefix" -w json)")
write_as_of "$revision"
"$@"
etcdctl watch --prefix "$prefix" --rev=$((revision + 1)) -w json |
    while read -r change; do
        write_as_of "$(revision_of "$change")"
        "$@"
    done
