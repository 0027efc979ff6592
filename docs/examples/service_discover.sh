#!/bin/sh
# Service discovery, the side of the client: which instances are there, now and from now on.
#
#   service_discover.sh SERVICE
#
# Prints `+ NAME ADDRESS` for each instance that is there, comes, or registers anew, and `- NAME`
# for each that goes. It asks for a revision, reads the instances as of that revision,
# and watches from the one behind it: no instance can come or go in between unseen. etcdctl
# resumes the watch by itself when it must change to another of $ETCDCTL_ENDPOINTS.
# Names and addresses may not contain line breaks. service_register.sh is the other side.
set -eu
export ETCDCTL_API=3
prefix=services/$1/

revision=$(etcdctl get "$prefix" -w json | sed 's/.*"revision":\([0-9]*\).*/\1/')

etcdctl get --prefix "$prefix" --rev="$revision" |
    while read -r key && read -r address; do
        echo "+ ${key#"$prefix"} $address"
    done

etcdctl watch --prefix "$prefix" --rev=$((revision + 1)) |
    while read -r kind && read -r key && read -r address; do
        case $kind in
        PUT) echo "+ ${key#"$prefix"} $address" ;;
        DELETE) echo "- ${key#"$prefix"}" ;;
        esac
    done
