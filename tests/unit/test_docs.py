"""What is written about settings, profiles and answers is complete and true."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import __version__
from orchestrator.cli.workflow_lint.finding import SEVERITY, Code
from orchestrator.config.profiles import ProfileSetting
from orchestrator.config.settings import Settings
from orchestrator.errors import DeliveryRefused
from orchestrator.explain.verdict import Verdict
from orchestrator.health.finding import State
from orchestrator.lines import FIELDS, IDS
from orchestrator.reconcile.findings import JobState
from orchestrator.result import Result
from orchestrator.runners.claim_refusal import STATUS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
# The prices are for the command line alone.
SETTINGS = sorted(["PoolPrices", *(field.alias or "" for field in Settings.model_fields.values())])
OPTIONS = sorted(field.alias or "" for field in ProfileSetting.model_fields.values())
FOLDERS = ("", "docs/", ".github/", "runner-images/")
PAGES = [page for folder in FOLDERS for page in ROOT.glob(f"{folder}*.md")]
EXAMPLE = json.loads((ROOT / "local.settings.json.example").read_text(encoding="utf-8"))["Values"]


def section(title: str) -> str:
    """Return one section of the reference."""
    return REFERENCE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[str]:
    """Return the rows of the tables in a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = {index for index, line in enumerate(lines) for index in (index - 1, index) if line.startswith("|---")}
    return [line for index, line in enumerate(lines) if index not in heads]


def refusals(kind: type[DeliveryRefused] = DeliveryRefused) -> Iterator[int]:
    """Yield the status of every refusal."""
    yield kind.status
    for special in kind.__subclasses__():
        yield from refusals(special)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_in_the_example(setting: str) -> None:
    """`local.settings.json.example` holds every setting."""
    assert setting in EXAMPLE


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_is_in_the_reference(setting: str) -> None:
    """The reference's table of settings explains every setting."""
    assert f"\n| `{setting}` |" in section("Settings")


@pytest.mark.parametrize("option", OPTIONS)
def test_every_profile_option_is_in_the_reference(option: str) -> None:
    """The reference's table of a profile's options explains every option."""
    assert f"\n| `{option}` |" in section("Labels and profiles")


def test_the_reference_knows_nothing_else() -> None:
    """Every row of the reference's settings is a setting, and every default that it spells out is the example's."""
    found = [re.match(r"\| `(\w+)` \|(?: `([^`]+)`)?[^|]*\| ", row) for row in rows(section("Settings"))]
    assert sorted(row[1] for row in found if row) == SETTINGS
    defaults = {row[1]: row[2] for row in found if row and row[2]}
    assert defaults
    assert defaults == {name: EXAMPLE[name] for name in defaults}


def test_the_readme_explains_settings_as_the_reference() -> None:
    """The settings that the README shows have the same row in the reference."""
    shown = rows(README.partition("\n## Configure\n")[2].partition("\n## ")[0])
    assert len(shown) == 10
    assert set(shown) <= set(rows(section("Settings")))


def test_the_answers_can_be_read_by_a_program() -> None:
    """Each row of the answers names one status and one result, no pair twice; every status of a refusal is there."""
    found = [re.fullmatch(r"\| (\d{3}) \| `(\w+)` \| [^|]+ \|", row) for row in rows(section("Answers"))]
    answers = [(int(row[1]), row[2]) for row in found if row]
    assert len(answers) == len(found) == len(set(answers))
    assert (201, "created") in answers
    assert {status for status, result in answers if result == "refused"} == set(refusals())


def test_the_reference_knows_every_result() -> None:
    """Every word for a result is explained in the reference, and its tables of results hold no other."""
    words = {result.value for result in Result}
    assert {word for word in words if f"`{word}`" not in REFERENCE} == set()
    heads = [row.split("|")[2] for row in rows(section("Answers"))]
    heads += [row.split("|")[1] for row in rows(section("Results in the log"))]
    assert set(re.findall(r"`([^`]+)`", " ".join(heads))) <= words


def test_the_readme_is_short() -> None:
    """The README can be read in one go: what is for reference stands in `docs/`."""
    assert len(README.splitlines()) <= 180


@pytest.mark.parametrize("page", sorted(str(page.relative_to(ROOT)) for page in PAGES))
def test_links_lead_somewhere(page: str) -> None:
    """Every link to another file of the repository finds it, and every anchor finds its heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [found for found in re.findall(r"\]\(([^)\s]+)\)", text) if not found.startswith(("http", "mailto:"))]
    lost = []
    for target in targets:
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path.read_text(encoding="utf-8"))):
            lost.append(target)
    assert lost == []


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted(str(page.relative_to(ROOT)) for page in PAGES))
def test_lines_are_short(page: str) -> None:
    """Prose keeps to 120 columns; tables, commands and links may not break."""
    prose = re.sub(r"^ *```.*?^ *```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "[")) and " " in line.strip()]
    assert [line for line in lines if len(line) > 120 and not line.lstrip().startswith("|")] == []


def test_the_example_becomes_right_by_filling_in_the_secrets() -> None:
    """With a webhook secret and a token the example is a working configuration, and its defaults are the code's."""
    filled = Settings.from_environment(EXAMPLE | {"GithubWebhookSecret": "s", "GithubToken": "t"})
    bare = Settings.from_environment(
        {
            name: value
            for name, value in EXAMPLE.items()
            if name.startswith(("Azure", "Batch", "Container", "Ubuntu", "Windows"))
        }
        | {"GithubWebhookSecret": "s", "GithubToken": "t"}
    )
    assert filled == bare


def test_the_version() -> None:
    """The version that the status page shows is the project's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert __version__ == project["version"]


def test_states_of_waiting_jobs() -> None:
    """The reference's table of what a pass records explains each state of a job once, and no other."""
    named = [re.findall(r"^\| `([a-z-]+)` \|", row)[0] for row in rows(section("What a pass records"))]
    assert sorted(named) == sorted(JobState)


def test_verdicts() -> None:
    """The reference's table of verdicts explains each verdict once, and no other."""
    named = [re.findall(r"^\| `([a-z-]+)` \|", row)[0] for row in rows(section("Verdicts"))]
    assert sorted(named) == sorted(Verdict)


def test_states_of_the_set_up() -> None:
    """The reference explains each state of a part of the set-up, and no other."""
    named = [re.findall(r"^\| `([a-z ]+)` \|", row)[0] for row in rows(section("The set-up's states"))]
    assert sorted(named) == sorted(State)


def test_findings_of_lint() -> None:
    """The reference's table of findings explains each code once with its severity, and no other."""
    named = [re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", row)[0] for row in rows(section("Findings of lint"))]
    assert named == [(code, SEVERITY[code].name.lower()) for code in Code]


def test_lines_of_the_log() -> None:
    """The reference lists each line of the log with the fields that the code may write, and what any line may have."""
    text = section("Lines of the log")
    listed = {row.split("|")[1].strip(" `"): set(re.findall(r"`(\w+)`", row.split("|")[2])) for row in rows(text)}
    assert listed == {str(line): set(fields) for line, fields in FIELDS.items()}
    assert set(re.findall(r"`(\w+)`", text.partition("\n|")[0])) == {"line", *IDS}


def test_refusals_of_claims() -> None:
    """The reference's table of claims explains each code once, with the status that it is answered with."""
    found = [re.match(r"\| (\d{3}) \| (`[a-z`, -]+`) \|", row) for row in rows(section("Claims"))]
    told = [(code, int(row[1])) for row in found if row for code in re.findall(r"`([a-z-]+)`", row[2])]
    assert sorted(told) == sorted((str(code), int(status)) for code, status in STATUS.items())
