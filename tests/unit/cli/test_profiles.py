"""`profiles`: what to write in `runs-on`, as it is printed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.main import run
from orchestrator.cli.profile_guide import guide
from orchestrator.config.profiles import profile_for
from tests.builders import environment, settings

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "local.settings.json.example"
DOCS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMON = {"pool": "p", "image": "r.example/i"}
PROFILES = [
    {"name": "first", "labels": ["gpu", "cuda"], **COMMON},
    {"name": "never", "labels": ["gpu"], **COMMON},
    {"name": "glob", "labels": ["run-*"], "maxRunners": 5, "maxHours": 1.5, **COMMON},
    {"name": "ours", "labels": ["gpu", "big"], "repositories": ["acme/*", "x/y"], "runnerGroup": "a|b", **COMMON},
    {"name": "arm", "arch": "arm64", **COMMON},
]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the function's settings into the environment."""
    for name, value in environment(RunnerProfiles=json.dumps(PROFILES)).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(("options", "fence"), [([], "text"), (["--markdown"], "markdown")])
def test_the_docs_show_it(options: list[str], fence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows what the command prints for the example's settings."""
    assert run(["profiles", *options, "--settings", str(EXAMPLE)]) == 0
    said = capsys.readouterr()
    assert f"```{fence}\n{said.out}```" in DOCS
    assert said.err == ""


@pytest.mark.usefixtures("surroundings")
def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Each profile has the fewest labels that mean it; one that no job gets is said."""
    assert run(["profiles"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "first: runs-on: [self-hosted, gpu]",
        "  or one of: cuda",
        "  linux x64, image r.example/i, for all repositories, at most 7 h",
        "never: no job gets it, because profile first takes them all and comes first",
        "glob: runs-on: [self-hosted, run-x]",
        "  linux x64, image r.example/i, for all repositories, at most 1.5 h, 5 runners at once",
        "ours: runs-on: [self-hosted, big]",
        "  linux x64, image r.example/i, for acme/*, x/y, in the group a|b, at most 7 h",
        "arm: runs-on: [self-hosted, arm64]",
        "  linux arm64, image r.example/i, for all repositories, at most 7 h",
    ]


@pytest.mark.usefixtures("surroundings")
def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has a row for each profile that a job can get, and no cell breaks it."""
    assert run(["profiles", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "`[self-hosted, gpu]`", "`[self-hosted, run-x]`", "`[self-hosted, big]`", "`[self-hosted, arm64]`",
    ]  # fmt: skip
    assert "in the group a\\|b |" in lines[4]


@pytest.mark.usefixtures("surroundings")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """--json holds the same for a program, and does not go with --markdown."""
    assert run(["profiles", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["profiles"]
    assert [(entry["name"], entry["runsOn"], entry["takenBy"]) for entry in found[:2]] == [
        ("first", ["self-hosted", "gpu"], None), ("never", None, "first"),
    ]  # fmt: skip
    assert (found[0]["alsoLabels"], found[2]["maxRunners"]) == (["cuda"], 5)
    assert run(["profiles", "--json", "--markdown"]) == 2
    assert "--markdown: does not go with --json" in capsys.readouterr().err


LABELS = st.lists(st.sampled_from(["a", "b", "c-*", "d"]), max_size=3, unique=True)


@given(st.lists(LABELS, min_size=1, max_size=5))
def test_it_is_true(labels: list[list[str]]) -> None:
    """Whatever the profiles are, a job that asks for what is written gets the profile."""
    written = [{"name": f"p{number}", "labels": own, **COMMON} for number, own in enumerate(labels)]
    found = settings(RunnerProfiles=json.dumps(written)).profiles
    for entry in guide(found):
        if entry.runs_on is not None:
            assert profile_for(found, entry.runs_on, "acme/app") == entry.profile
        else:
            assert entry.taken_by
