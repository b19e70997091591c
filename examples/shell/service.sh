#!/bin/sh
# Registers an instance, renews it, discovers it, waits for a change, deregisters.
set -eu

address=${MUSTERD_ADDRESS:-http://127.0.0.1:8000}

ask() {
    method=$1 path=$2
    shift 2
    if [ -n "${MUSTERD_TOKEN:-}" ]; then set -- --header "Authorization: Bearer $MUSTERD_TOKEN" "$@"; fi
    curl --silent --show-error --fail-with-body --request "$method" "$address$path" "$@"
}

ask POST /services/register --data '{"service_id":"shell-1","service_name":"example","host":"127.0.0.1","port":8081,"ttl":"30s"}' >/dev/null
echo "registered shell-1"

ask POST /services/shell-1/heartbeat >/dev/null
echo "renewed"

found=$(ask GET '/services/discover/example?limit=100')
case $found in *'"service_id":"shell-1"'*) echo "discovered shell-1" ;; *) echo "not found" >&2; exit 1 ;; esac

# The changes since a cursor; `wait` holds the request until there is one.
cursor=$(ask GET '/events?limit=1' | sed 's/.*"cursor":"\([^"]*\)".*/\1/')
ask PUT /services/shell-1/override --data '{"status":"stopping","reason":"example"}' >/dev/null
ask GET "/events?service=example&since=$cursor&wait=5s" | grep -q '"event":"stopping"'
echo "event stopping"

ask DELETE /services/shell-1 >/dev/null
echo "deregistered"
