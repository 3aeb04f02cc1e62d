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

# Fills both chains with what is common and the rules on stdin, in one commit: run again, it never leaves a container a
# moment without rules, nor for ever when something fails. Naming a chain empties it first, within that commit.
load() { # iptables-command
  {
    printf '%s\n' '*mangle' ":$GUARD - [0:0]" ":$APART - [0:0]"
    printf '%s\n' "-A $GUARD -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"
    printf -- "-A $APART -o %s -j DROP\n" "${BRIDGES[@]}"
    cat
    echo COMMIT
  } | "$1-restore" --noflush -w 30
}

# Every packet from a container passes the chain at the given hook before anything else.
jump() { # iptables-command chain hook
  for bridge in "${BRIDGES[@]}"; do
    "$1" -w 30 -t mangle -C "$3" -i "$bridge" -j "$2" 2>/dev/null || "$1" -w 30 -t mangle -I "$3" -i "$bridge" -j "$2"
  done
}

load iptables <<RULES
-A $GUARD -d 168.63.129.16 -p udp --dport 53 -j RETURN
-A $GUARD -d 168.63.129.16 -p tcp --dport 53 -j RETURN
-A $GUARD -d 168.63.129.16 -j DROP
-A $GUARD -d 169.254.0.0/16 -j DROP
-A $GUARD -m addrtype --dst-type LOCAL -j DROP
RULES

# ICMPv6 stays open: it finds the neighbours.
load ip6tables <<RULES
-A $GUARD -p udp -m addrtype --dst-type LOCAL -j DROP
-A $GUARD -p tcp -m addrtype --dst-type LOCAL -j DROP
RULES

for command in iptables ip6tables; do
  jump "$command" "$GUARD" PREROUTING
  jump "$command" "$APART" FORWARD
done

# Docker reads both when it starts. It is started again only when one of them is new, so never under a runner at work.
# Sources: update-ca-certificates(8), and Docker's "Daemon proxy configuration".
readonly DONE=/usr/local/share/runner-network   # what this node was last set up with
wanted=$(printf '%s\n' "${CA_CERTIFICATES:-}" "${HTTPS_PROXY:-}" "${NO_PROXY:-}" | sha256sum)
if [[ -n ${CA_CERTIFICATES:-}${HTTPS_PROXY:-} && $(cat "$DONE" 2>/dev/null) != "$wanted" ]]; then
  if [[ -n ${CA_CERTIFICATES:-} ]]; then
    pem=$CA_CERTIFICATES
    [[ $pem == *BEGIN* ]] || pem=$(base64 -d <<<"$pem")
    mkdir -p /usr/local/share/ca-certificates
    printf '%s\n' "$pem" >/usr/local/share/ca-certificates/runner-ca.crt
    update-ca-certificates
    mkdir -p /etc/runner-ca   # the orchestrator mounts this into containers (MountCaCertificates)
    cp /etc/ssl/certs/ca-certificates.crt /etc/runner-ca/ca-bundle.pem
  fi
  if [[ -n ${HTTPS_PROXY:-} ]]; then
    mkdir -p /etc/systemd/system/docker.service.d
    printf '[Service]\nEnvironment="HTTPS_PROXY=%s" "NO_PROXY=%s"\n' "${HTTPS_PROXY//%/%%}" "${NO_PROXY:-}" \
      >/etc/systemd/system/docker.service.d/runner-proxy.conf
    systemctl daemon-reload
  fi
  systemctl restart docker
  echo "$wanted" >"$DONE"
fi

iptables -w 30 -t mangle -S   # what is in force, for the reader of stdout.txt
