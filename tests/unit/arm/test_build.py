"""What stands in the template is what stands in its sources."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from arm.build import FORMULAS, HERE, PLACEHOLDERS, START_TASKS, TEMPLATE, built, formula
from arm.expressions import resources

TEXT = TEMPLATE.read_text(encoding="utf-8")
CONTENT: dict[str, Any] = json.loads(TEXT)
PARAMETERS: dict[str, Any] = CONTENT["parameters"]


def embedded(pool: str) -> str:
    """Return a pool's formula as the template has it."""
    text: str = CONTENT["variables"]["autoscale"][pool]["autoScale"]["formula"]
    return text


def test_the_template_is_built() -> None:
    """`python arm/build.py` would change nothing."""
    assert built(TEXT) == TEXT


@pytest.mark.parametrize("variable", START_TASKS)
def test_start_tasks_are_their_sources(variable: str) -> None:
    """A start task in the template is its script, to the byte."""
    assert CONTENT["variables"][variable] == (HERE / START_TASKS[variable]).read_text(encoding="utf-8")


@pytest.mark.parametrize("pool", FORMULAS)
def test_formulas_are_their_sources(pool: str) -> None:
    """A formula in the template is its source with the parameters' defaults in the placeholders."""
    source = (HERE / "autoscale" / FORMULAS[pool]).read_text(encoding="utf-8").splitlines()
    text = embedded(pool).splitlines()
    assert len(text) == len(source)
    for before, after in zip(source, text, strict=True):
        placeholder = re.fullmatch(r"(\w+) = \{\{(\w+)\}\};", before)
        if placeholder is None:
            assert after == before
        else:
            default = PARAMETERS[PLACEHOLDERS[placeholder[2]][pool]]["defaultValue"]
            assert after == f"{placeholder[1]} = {int(default)};"


@pytest.mark.parametrize("pool", FORMULAS)
def test_a_formula_that_batch_takes(pool: str) -> None:
    """A formula keeps within Batch's limits, is ASCII, and sets both kinds of nodes."""
    text = embedded(pool)
    assert text.isascii()
    assert len(text) <= 8192
    assert "{{" not in text
    statements = [line for line in re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL).split(";") if line.strip()]
    assert len(statements) <= 100
    assert {"$TargetDedicatedNodes", "$TargetLowPriorityNodes", "$NodeDeallocationOption"} <= {
        statement.partition("=")[0].strip() for statement in statements
    }


@pytest.mark.parametrize("pool", FORMULAS)
def test_every_parameter_reaches_its_formula(pool: str) -> None:
    """All that a pool's owner may choose is in the formula, and put there when the template is deployed."""
    source = (HERE / "autoscale" / FORMULAS[pool]).read_text(encoding="utf-8")
    _, expression = formula(source, pool, PARAMETERS)
    changed = {}
    for number, parameter in enumerate(PLACEHOLDERS.values(), start=2):
        name = parameter[pool]
        changed[name] = PARAMETERS[name]["type"] == "bool" or number
    given = {"appName": "runners", "githubWebhookSecret": "s" * 16} | changed
    text = next(
        resource["properties"]["scaleSettings"]["autoScale"]["formula"]
        for resource in resources(CONTENT, given)
        if resource["type"].endswith("/pools")
        and f"slots = {changed[PLACEHOLDERS['slots'][pool]]};"
        in resource["properties"]["scaleSettings"]["autoScale"]["formula"]
    )
    for name, parameter in PLACEHOLDERS.items():
        assert f"\n{name} = {int(changed[parameter[pool]])};\n" in text
    assert expression in TEXT


def test_the_linux_formula_comes_first() -> None:
    """Whoever takes the first formula out of the template gets the Linux pool's, ready to be evaluated."""
    first = re.search(r'"formula": "(.*)"', TEXT)
    assert first is not None
    assert json.loads(f'"{first[1]}"') == embedded("ubuntu")


def test_values_are_put_where_the_defaults_stand() -> None:
    """The expression replaces each default by the parameter's value; a switch becomes 1 or 0."""
    parameters = {"ubuntuMaxNodes": {"defaultValue": 4}, "ubuntuUseSpot": {"defaultValue": False}}
    text, expression = formula("maxNodes = {{maxNodes}};\nspot = {{spot}};\n", "ubuntu", parameters)
    assert text == "maxNodes = 4;\nspot = 0;\n"
    assert expression == (
        "replace(replace(parameters('formula'), "
        "'maxNodes = 4;', concat('maxNodes = ', string(parameters('pool').maxNodes), ';')), "
        "'spot = 0;', concat('spot = ', if(parameters('pool').spot, '1', '0'), ';'))"
    )


@pytest.mark.parametrize("source", ["x = {{unknown}};", "n = {{maxNodes}} + 1;", "maxNodes = {{maxNodes}};\n" * 2])
def test_a_placeholder_that_cannot_be_filled_in(source: str) -> None:
    """A placeholder that is unknown, part of a line, or there twice stops the build."""
    with pytest.raises(ValueError, match="no placeholder"):
        formula(source, "ubuntu", PARAMETERS)


def test_the_check_fails_on_a_difference(tmp_path: Path) -> None:
    """`--check` passes as committed and fails once a source is changed; building mends it."""
    copy = tmp_path / "arm"
    shutil.copytree(HERE, copy)

    def build(*arguments: str) -> int:
        command = [sys.executable, str(copy / "build.py"), *arguments]
        return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode  # noqa: S603

    assert build("--check") == 0
    with (copy / START_TASKS["startTaskLinux"]).open("a", encoding="utf-8") as script:
        script.write("# one more line\n")
    assert build("--check") == 1
    assert build() == 0
    assert build("--check") == 0
