#!/usr/bin/env bash
# Start task of the Linux pool. Runs as root whenever a node starts, before any runner; may run again at any time.
#
# A runner container is somebody's workflow at work. It may reach the network, but neither what belongs to the node nor
# the other runners on it:
#   169.254.169.254  the metadata service, which hands out tokens of the pool's identity (and all link-local addresses)
#   168.63.129.16    Azure's wire server, which knows the machine's settings; its DNS stays open, containers need it
#   the node itself  the Batch agent, SSH, Docker
#   other containers
# The node's own traffic, the Batch agent's and Docker's (pulling an image as the pool's identity), passes other hooks and
# is not touched. The rules live in the mangle table, which Docker leaves alone, however often it restarts.
set -euo pipefail

readonly GUARD=RUNNER-GUARD       # what comes out of a container
readonly APART=RUNNER-APART       # what goes from container to container
readonly BRIDGES=(docker+ br-+)   # Docker's default network, and networks made by hand

# Frames within one bridge pass the rules below only with this module.
[[ -e /proc/sys/net/bridge ]] || modprobe br_netfilter
sysctl -q -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1

# An empty chain, that every packet from a container passes at the given hook before anything else.
chain() { # iptables-command chain hook
  "$1" -w 30 -t mangle -N "$2" 2>/dev/null || "$1" -w 30 -t mangle -F "$2"
  for bridge in "${BRIDGES[@]}"; do
    "$1" -w 30 -t mangle -C "$3" -i "$bridge" -j "$2" 2>/dev/null || "$1" -w 30 -t mangle -I "$3" -i "$bridge" -j "$2"
  done
}

guard() { "$1" -w 30 -t mangle -A "$GUARD" "${@:2}"; }
apart() { "$1" -w 30 -t mangle -A "$APART" "${@:2}"; }

for command in iptables ip6tables; do
  chain "$command" "$GUARD" PREROUTING
  chain "$command" "$APART" FORWARD
  guard "$command" -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN
  for bridge in "${BRIDGES[@]}"; do
    apart "$command" -o "$bridge" -j DROP
  done
done

for protocol in udp tcp; do
  guard iptables -d 168.63.129.16 -p "$protocol" --dport 53 -j RETURN
  guard ip6tables -p "$protocol" -m addrtype --dst-type LOCAL -j DROP   # not ICMPv6: it finds the neighbours
done
guard iptables -d 168.63.129.16 -j DROP
guard iptables -d 169.254.0.0/16 -j DROP
guard iptables -m addrtype --dst-type LOCAL -j DROP

iptables -w 30 -t mangle -S   # what is in force, for the reader of stdout.txt
