"""The Linux pool's start task, run in network namespaces that play a node, its containers and Azure."""

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TEMPLATE = json.loads((Path(__file__).parents[2] / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))
PREFIX = f"ghr{os.getpid() % 10_000}"
NODE, ONE, TWO, AZURE = (f"{PREFIX}-{name}" for name in ("node", "one", "two", "azure"))
PEM = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----"
METADATA, WIRE, INTERNET = "169.254.169.254", "168.63.129.16", "203.0.113.5"

SERVE = """
import socket, sys
sockets = []
for port in map(int, sys.argv[1:]):
    sockets.append(socket.create_server(("0.0.0.0", port)))
print("ready", flush=True)
sys.stdin.read()
"""
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 0.5).close()"


def run(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=30)  # noqa: S603


def at(namespace: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in a namespace."""
    return run("ip", "netns", "exec", namespace, *command, check=check)


def start_task(*environment: str) -> str:
    """Run the start task as Batch does: the template's command line, without a shell, with its variables and more."""
    script = base64.b64encode(TEMPLATE["variables"]["startTaskLinux"].encode()).decode()
    command = shlex.split(TEMPLATE["variables"]["commandLines"]["linux"])
    return at(NODE, "env", f"START_TASK={script}", *environment, *command).stdout


def reaches(namespace: str, address: str, port: int) -> bool:
    """Whether a connection can be made."""
    return at(namespace, sys.executable, "-c", CONNECT, address, str(port), check=False).returncode == 0


def lay_cables() -> None:
    """Make a node with two containers on Docker's bridge, and an Azure that it is connected to."""
    for namespace in (NODE, ONE, TWO, AZURE):
        run("ip", "netns", "add", namespace)
        at(namespace, "ip", "link", "set", "lo", "up")
    at(NODE, "ip", "link", "add", "docker0", "type", "bridge")
    at(NODE, "ip", "addr", "add", "192.0.2.1/24", "dev", "docker0")
    at(NODE, "ip", "link", "set", "docker0", "up")
    for number, container in enumerate((ONE, TWO), start=2):
        at(NODE, "ip", "link", "add", f"veth{number}", "type", "veth", "peer", "eth0", "netns", container)
        at(NODE, "ip", "link", "set", f"veth{number}", "master", "docker0", "up")
        at(container, "ip", "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
        at(container, "ip", "link", "set", "eth0", "up")
        at(container, "ip", "route", "add", "default", "via", "192.0.2.1")
    at(NODE, "ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", AZURE)
    for namespace, own in ((NODE, 1), (AZURE, 2)):
        at(namespace, "ip", "addr", "add", f"198.51.100.{own}/24", "dev", "eth0")
        at(namespace, "ip", "link", "set", "eth0", "up")
    for address in (METADATA, WIRE, INTERNET):
        at(AZURE, "ip", "addr", "add", f"{address}/32", "dev", "lo")
    at(NODE, "ip", "route", "add", "default", "via", "198.51.100.2")
    at(AZURE, "ip", "route", "add", "default", "via", "198.51.100.1")
    at(NODE, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")


@pytest.fixture
def node() -> Iterator[None]:
    """Lay the cables, and let everybody listen; take it all away afterwards."""
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("ip", "iptables", "ip6tables", "sysctl")):
        pytest.skip("network namespaces and iptables need root")
    if not Path("/proc/sys/net/bridge").exists() and shutil.which("modprobe") is None:
        pytest.skip("this kernel has no br_netfilter")
    servers: list[subprocess.Popen[str]] = []
    try:
        lay_cables()
        for namespace, ports in ((AZURE, ("80", "53")), (NODE, ("22",)), (TWO, ("8000",))):
            server = subprocess.Popen(  # noqa: S603
                ["ip", "netns", "exec", namespace, sys.executable, "-c", SERVE, *ports],  # noqa: S607
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            servers.append(server)
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
        yield
    finally:
        for server in servers:
            server.communicate()
        for namespace in (NODE, ONE, TWO, AZURE):
            run("ip", "netns", "del", namespace, check=False)


def reachable_from_a_container() -> dict[str, bool]:
    """Try everything that matters from a container."""
    return {
        "the internet": reaches(ONE, INTERNET, 80),
        "DNS": reaches(ONE, WIRE, 53),
        "the metadata service": reaches(ONE, METADATA, 80),
        "the wire server": reaches(ONE, WIRE, 80),
        "the node at its bridge": reaches(ONE, "192.0.2.1", 22),
        "the node at its own address": reaches(ONE, "198.51.100.1", 22),
        "another container": reaches(ONE, "192.0.2.3", 8000),
    }


@pytest.mark.usefixtures("node")
def test_what_a_container_reaches() -> None:
    """Before the start task a container reaches everything; after it the network and DNS, and nothing of the node's."""
    assert all(reachable_from_a_container().values())
    start_task()
    assert {what for what, reached in reachable_from_a_container().items() if reached} == {"the internet", "DNS"}


@pytest.mark.usefixtures("node")
def test_the_node_itself_is_not_hindered() -> None:
    """The Batch agent and Docker still reach the metadata service, the wire server and the containers."""
    start_task()
    places = ((METADATA, 80), (WIRE, 80), (WIRE, 53), (INTERNET, 80), ("192.0.2.3", 8000))
    assert all(reaches(NODE, address, port) for address, port in places)


@pytest.mark.usefixtures("node")
def test_running_it_again_changes_nothing() -> None:
    """A node that starts again, or a task that is tried again, has every rule once."""
    first = start_task()
    assert "RUNNER-GUARD" in first
    assert start_task() == first


@pytest.mark.usefixtures("node")
def test_running_it_again_never_opens_anything(tmp_path: Path) -> None:
    """Whatever command a second run stops at, containers find every rule of both chains in force, as before it."""
    start_task()
    log = tmp_path / "log"
    for family in ("iptables", "ip6tables"):
        for name in (family, f"{family}-restore"):
            state = f"{shutil.which(f'{family}-save')} -t mangle | grep '^-A' | sed 's/^/{family} /' >>{log}"
            stub = tmp_path / name
            stub.write_text(f'#!/bin/sh\n{shutil.which(name)} "$@"; code=$?\n{state}\necho >>{log}\nexit $code\n')
            stub.chmod(0o755)
    start_task(f"PATH={tmp_path}:{os.environ['PATH']}")
    seen: dict[str, set[str]] = {"iptables": set(), "ip6tables": set()}
    states = log.read_text(encoding="utf-8").strip().split("\n\n")
    for state in states:
        seen[state.partition(" ")[0]].add(state)
    assert len(states) >= len(seen) * 2
    assert [len(different) for different in seen.values()] == [1, 1]


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("given", [PEM, base64.b64encode(PEM.encode()).decode()], ids=["PEM", "base64"])
def test_the_network_of_a_company(tmp_path: Path, given: str) -> None:
    """The node trusts the given authorities, and Docker gets the proxy by one restart; a second run does nothing."""
    calls = tmp_path / "calls"
    for name in ("update-ca-certificates", "systemctl"):
        stub = tmp_path / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@" >>{calls}\n')
        stub.chmod(0o755)
    script = tmp_path / "task"
    script.write_text(TEMPLATE["variables"]["startTaskLinux"])
    # It writes into copies of its folders, which no other process sees.
    steps = f"""
        cp -a /etc {tmp_path}/etc && mount --bind {tmp_path}/etc /etc && mount -t tmpfs tmpfs /usr/local/share
        mkdir -p /etc/ssl/certs
        echo all >/etc/ssl/certs/ca-certificates.crt
        bash {script} && bash {script}
        cat /usr/local/share/ca-certificates/runner-ca.crt /etc/systemd/system/docker.service.d/runner-proxy.conf
        cat /etc/runner-ca/ca-bundle.pem
    """
    network = [f"CA_CERTIFICATES={given}", "HTTPS_PROXY=http://proxy.test:3128/a%20b", "NO_PROXY=localhost,.test"]
    environment = [f"PATH={tmp_path}:{os.environ['PATH']}", *network]
    told = at(NODE, "env", *environment, "unshare", "--mount", "bash", "-euc", steps).stdout
    assert told.endswith(
        f'{PEM}\n[Service]\nEnvironment="HTTPS_PROXY=http://proxy.test:3128/a%%20b" "NO_PROXY=localhost,.test"\nall\n'
    )
    assert calls.read_text(encoding="utf-8").splitlines() == [
        "update-ca-certificates", "systemctl daemon-reload", "systemctl restart docker",
    ]  # fmt: skip
