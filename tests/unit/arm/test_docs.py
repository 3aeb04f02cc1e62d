"""What `docs/deploy.md` says about the template is so."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
TEMPLATE = json.loads((ROOT / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))
PRICED = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)


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
    assert f"| together | | | {total:.2f} |" in PAGE
    assert [float(amount) for _, amount, *_ in per_jobs[:3]] == [
        node_hours(5, 0.26),
        node_hours(1, 0.26),
        node_hours(2, 0.40),
    ]
    costs = [float(cost) for *_, cost in per_jobs]
    pays_from = 1000 * total / (costs[4] - costs[0] - costs[3])
    assert f"about {round(pays_from, -2):,.0f} such jobs" in PAGE


def test_parameters_exist() -> None:
    """Each parameter that a command or table of the page names is the template's."""
    known = set(TEMPLATE["parameters"])
    given = {
        name for block in re.findall(r"```shell(.*?)```", PAGE, re.DOTALL) for name in re.findall(r"\b(\w+)=", block)
    }
    assert {name for name in given if not name.isupper()} - {"registry", "version", "code"} <= known
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| ", PAGE.partition("The parameters say")[2].partition("## 2.")[0], re.MULTILINE
    )
    assert rows
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= known


def test_outputs_exist() -> None:
    """Each output that a command asks for is the template's."""
    asked = set(re.findall(r"properties\.outputs\.(\w+)\.value", PAGE)) | set(re.findall(r"\(output (\w+)\)", PAGE))
    assert asked
    assert asked <= set(TEMPLATE["outputs"])


def test_the_buttons_lead_to_the_template() -> None:
    """Both buttons name the template, and one the portal's form."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.count("%2Farm%2Fazuredeploy.json") == 2
    assert readme.count("%2Farm%2FcreateUiDefinition.json") == 1
