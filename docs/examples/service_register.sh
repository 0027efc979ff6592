#!/bin/sh
# Service discovery, the side of the service: register an instance for as long as it lives.
#
#   service_register.sh SERVICE NAME ADDRESS [TTL]   e.g. service_register.sh web w1 10.0.0.7:80
#
# The entry hangs on a lease that this script keeps alive. When it ends, it revokes the lease and
# the entry is gone at once; when it is killed or its machine is, the entry is gone within TTL
# seconds. The lease is kept alive by one short call after the other, not by a process in the
# background: nothing can outlive this script and go on claiming that the service is there.
# If the lease was lost meanwhile (the servers were away for too long), it registers anew.
# Run it beside the service and end it with the service. service_discover.sh is the other side.
set -eu
export ETCDCTL_API=3
service=$1 name=$2 address=$3 ttl=${4:-6}
lease=

trap 'test -z "$lease" || etcdctl lease revoke "$lease" >/dev/null' EXIT
trap 'exit 0' INT TERM

register() {
    granted=$(etcdctl lease grant "$ttl") &&
        lease=$(echo "$granted" | cut -d' ' -f2) &&
        etcdctl put --lease="$lease" "services/$service/$name" "$address" >/dev/null
}

while :; do
    until register; do sleep 1; done
    while etcdctl lease keep-alive --once "$lease" >/dev/null; do
        sleep $((ttl / 3)) &
        wait $! # unlike a sleep, this ends with a signal
    done
done
