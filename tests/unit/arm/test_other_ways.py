"""What `docs/other-ways.md` hands to the template exists there."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "other-ways.md").read_text(encoding="utf-8")
TEMPLATE = json.loads((ROOT / "arm" / "azuredeploy.json").read_text(encoding="utf-8"))


def block(language: str) -> str:
    """Return the page's one piece of code in a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def bicep() -> list[str]:
    """Return the parameters of the Bicep module."""
    return re.findall(r"^    (\w+):", block("bicep"), re.MULTILINE)


def terraform() -> list[str]:
    """Return the parameters of the Terraform deployment."""
    return re.findall(r"^    (\w+) += \{ value =", block("hcl"), re.MULTILINE)


@pytest.mark.parametrize("named", [bicep(), terraform()], ids=["bicep", "terraform"])
def test_parameters_exist(named: list[str]) -> None:
    """Each parameter is one of the template's, and every one without a default is given."""
    required = {name for name, parameter in TEMPLATE["parameters"].items() if "defaultValue" not in parameter}
    assert required <= set(named) <= set(TEMPLATE["parameters"])


def test_a_second_run_leaves_pools_and_network_alone() -> None:
    """The page says with which parameters it does; each has the value that it names."""
    named = re.search(r"second time, add `(\w+)` and `(\w+)` with the\s+value `(\w+)`", PAGE)
    assert named is not None
    assert all(named[3] in TEMPLATE["parameters"][name]["allowedValues"] for name in named.groups()[:2])


def test_azd_fills_the_parameters_of_the_bicep_file() -> None:
    """What azd takes from its environment are exactly the parameters of the Bicep file, and each is set before."""
    declared = set(re.findall(r"^param (\w+)", block("bicep"), re.MULTILINE))
    parameters = json.loads(block("json"))["parameters"]
    assert set(parameters) == declared
    for parameter in parameters.values():
        assert re.search(rf"azd env set(-secret)? {parameter['value'].strip('${}')}\b", PAGE)


def test_secrets_stay_secure() -> None:
    """A parameter that is secure in the template is secure in the Bicep file as well."""
    declared = re.findall(r"(@secure\(\)\n)?param (\w+)", block("bicep"))
    for secure, name in declared:
        assert bool(secure) is (TEMPLATE["parameters"][name]["type"].lower() == "securestring")


def test_outputs_exist() -> None:
    """Each output that is read is one of the template's."""
    read = re.findall(r"outputs\.(\w+)|output_content\)\.(\w+)\.value", PAGE)
    assert len(read) == 2
    assert {one or other for one, other in read} <= set(TEMPLATE["outputs"])
