"""What the pages on deploying say about the template is so."""

import json
import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from orchestrator.config.allowed_sources import SHIPPED_HOOK_RANGES, proxy_networks
from orchestrator.delivery.source_address import caller_address, is_within

ROOT = Path(__file__).parents[3]
DEPLOY, COST, *OTHERS = (
    (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("deploy", "cost", "template", "network", "private-ingress", "upgrading")
)
INGRESS = OTHERS[2]
PAGES = "\n".join((DEPLOY, *OTHERS))
TEMPLATE = json.loads((ROOT / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))
PRICED = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", COST, re.MULTILINE)


def node_hours(slots: int, used: float) -> float:
    """Return what the page's formula gives for 1,000 jobs of 10 minutes."""
    return round(1000 * 10 / 60 / slots / used, 1)


@pytest.mark.parametrize(("what", "amount", "price", "cost"), PRICED)
def test_costs_are_computed(what: str, amount: str, price: str, cost: str) -> None:
    """Every cost is its amount times its price."""
    assert f"{float(amount) * float(price):.2f}" == cost, what


def test_sums_are_computed() -> None:
    """The monthly sum, the node-hours and the number of jobs that pays are what the figures give."""
    idle, per_jobs = PRICED[:5], PRICED[5:]
    total = sum(float(cost) for *_, cost in idle)
    assert f"| together | | | {total:.2f} |" in COST
    assert [float(amount) for _, amount, *_ in per_jobs[:3]] == [
        node_hours(5, 0.26),
        node_hours(1, 0.26),
        node_hours(2, 0.40),
    ]
    costs = [float(cost) for *_, cost in per_jobs]
    pays_from = 1000 * total / (costs[4] - costs[0] - costs[3])
    assert f"about {round(pays_from, -2):,.0f} such jobs" in COST


def test_parameters_exist() -> None:
    """Each parameter that a command or table of the pages names is the template's."""
    known = set(TEMPLATE["parameters"])
    given = {
        name for block in re.findall(r"```shell(.*?)```", PAGES, re.DOTALL) for name in re.findall(r"\b(\w+)=", block)
    }
    assert {name for name in given if not name.isupper()} - {"registry", "version", "code"} <= known
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| ", PAGES.partition("The parameters say")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert rows
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= known


def test_outputs_exist() -> None:
    """Each output that a command asks for is the template's."""
    asked = set(re.findall(r"properties\.outputs\.(\w+)\.value", PAGES)) | set(re.findall(r"\(output (\w+)\)", PAGES))
    assert asked
    assert asked <= set(TEMPLATE["outputs"])


def test_the_first_page() -> None:
    """It leads to a green job in at most six numbered steps, each of which says what it needs, and is told below."""
    steps = DEPLOY.partition("## From an empty subscription to a green job\n")[2].partition("\n## ")[0]
    numbered = re.findall(r"^(\d)\. \*\*\[.+?\]\(#(\S+)\)\*\*.*?\*(Needs .+?)\*$", steps, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, *_ in numbered] == list(range(1, len(numbered) + 1))
    assert 1 < len(numbered) <= 6
    told = re.findall(r"^## (\d\. .+)$", DEPLOY, re.MULTILINE)
    assert [anchor for _, anchor, _ in numbered] == [title.lower().replace(".", "").replace(" ", "-") for title in told]
    assert "not Azure" in numbered[0][2]


def test_what_app_create_writes_is_deployed() -> None:
    """The command of the first deployment and that of an upgrade take the file that `app create` writes, at the end."""
    for page in (DEPLOY, OTHERS[-1]):
        (command,) = re.findall(r"^az deployment group create (?:.*\\\n)+.*$", page, re.MULTILINE)
        files = re.findall(r"--parameters (\S+\.json)", command)
        assert files == ["arm/azuredeploy.parameters.json", "github-app.parameters.json"]


def test_whom_the_function_sees_behind_a_gateway() -> None:
    """Each row of the page's table is what the function makes of such a header, and only GitHub's address gets in."""
    last, seen = "", 0
    for header, proxies, caller, verdict in re.findall(
        r"^\| (`[\d.:, ]+`|the same) \| (`[\d./]+`)? ?\| ([\d.]+): (.+) \|$", INGRESS, re.MULTILINE
    ):
        last = last if header == "the same" else header.strip("`")
        found = caller_address(last, proxy_networks(proxies.strip("`")) if proxies else ())
        assert str(found) == caller
        assert found is not None
        assert is_within(found, SHIPPED_HOOK_RANGES) == verdict.endswith("let in")
        seen += 1
    assert seen == 3


def test_the_gateways_subnet_is_free() -> None:
    """The subnet that the page gives to the gateway lies in the template's network, and in none of its subnets."""
    (gateway,) = {IPv4Network(each) for each in re.findall(r'"TrustedProxies": "(.+?)"', INGRESS)}
    network = IPv4Network(TEMPLATE["parameters"]["vnetAddressPrefix"]["defaultValue"])
    taken = [list(network.subnets(new_prefix=each["size"]))[each["index"]] for each in TEMPLATE["variables"]["subnets"]]
    assert gateway.subnet_of(network)
    assert not any(gateway.overlaps(subnet) for subnet in taken)


def test_batch_commands_name_their_pool() -> None:
    """Each command that changes a pool names it, and is told after the login that it needs."""
    for block in re.findall(r"```shell\n(.*?)```", PAGES, re.DOTALL):
        commands = re.findall(r"^ *az batch (?:pool|node|task) (?!supported-images).*$", block, re.MULTILINE)
        assert all("--pool-id " in command or "--job-id " in command for command in commands)
        assert not commands or "az batch account login" in block


def test_the_buttons_lead_to_the_template() -> None:
    """Both buttons name the template, and one the portal's form."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("%2Farm%2Fazuredeploy.json") == 2
    assert readme.count("%2Farm%2FcreateUiDefinition.json") == 1
