#!/bin/sh
# Configuration for many readers, the side of the writer: change several settings at once.
#
#   config_publish.sh APP NAME=VALUE...     e.g. config_publish.sh shop db=10.0.0.3 pool=20
#
# All settings are written by one transaction: no reader ever sees half of them, and each reader
# is told once. Settings that are not named stay as they are. A transaction has a part of
# conditions (here: none), a part for when they hold and one for when they do not, each ended by
# an empty line; a condition like `version("config/shop/db") = "3"` would make it refuse to write
# over a change it has not seen. Values may not contain quotes or line breaks.
# config_follow.sh is the other side.
set -eu
export ETCDCTL_API=3
app=$1
shift

{
    echo
    for setting in "$@"; do
        printf 'put config/%s/%s "%s"\n' "$app" "${setting%%=*}" "${setting#*=}"
    done
    echo
    echo
} | etcdctl txn
