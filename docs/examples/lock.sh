#!/bin/sh
# A lock: run a command while nobody else runs one under the same name, in order of arrival.
#
#   lock.sh NAME COMMAND...     e.g. lock.sh backup sh -c 'dump | store'
#
# etcdctl puts a key with a lease of its own below NAME/ and waits for the one before it to go.
# Who is killed while it waits or holds the lock is out of the way within the lease's ten seconds.
# A lock of this kind protects from accidents, not from a holder that stops for minutes and wakes
# up when another has the lock. What must be safe even then names the lock in each write:
#     etcdctl txn with the condition   version("$ETCD_LOCK_KEY") > "0"
# etcdctl sets ETCD_LOCK_KEY for the command. lock.py takes the same locks, step by step.
set -eu
export ETCDCTL_API=3
name=$1
shift
exec etcdctl lock "locks/$name" -- "$@"
