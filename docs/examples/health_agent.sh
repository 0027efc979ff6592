#!/bin/sh
# Health monitoring, the agent: say that something is healthy for as long as a check says so.
#
#   health_agent.sh NAME TTL CHECK...     e.g. health_agent.sh web-1 6 curl -fs 10.0.0.7/health
#
# While CHECK succeeds, the agent keeps a lease alive, and with it the key health/NAME. When CHECK
# fails, the agent revokes the lease and the key is gone at once. When the agent or its machine
# dies, or a network separates it, the key is gone within TTL seconds: no news is bad news.
# CHECK must end by itself in less than TTL; a check that hangs counts as a failed one, because
# the lease ends meanwhile. health_monitor.py is the other side.
set -eu
export ETCDCTL_API=3
name=$1 ttl=$2
shift 2
lease=

resign() {
    test -z "$lease" || etcdctl lease revoke "$lease" >/dev/null || true
    lease=
}
trap resign EXIT
trap 'exit 0' INT TERM

is_known() {
    test -n "$lease" && etcdctl lease keep-alive --once "$lease" >/dev/null 2>&1
}

introduce() {
    granted=$(etcdctl lease grant "$ttl") &&
        lease=$(echo "$granted" | cut -d' ' -f2) &&
        etcdctl put --lease="$lease" "health/$name" healthy >/dev/null
}

while :; do
    if "$@" >/dev/null 2>&1; then
        is_known || introduce || lease=
    else
        resign
    fi
    sleep $((ttl / 3)) &
    wait $! # unlike a sleep, this ends with a signal
done
