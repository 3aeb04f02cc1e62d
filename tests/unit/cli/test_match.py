"""`match`: which profile a job would get, as it is printed."""

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import run
from tests.builders import environment

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "local.settings.json.example"
DOCS = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
PROFILES = json.dumps(
    [
        {"name": "first", "labels": ["gpu"], "pool": "p", "image": "r.example/i"},
        {"name": "second", "labels": ["gpu", "big"], "pool": "p", "image": "r.example/i"},
        {"name": "ours", "labels": ["gpu"], "pool": "p", "image": "r.example/i", "repositories": ["acme/*"]},
    ]
)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the function's settings into the environment."""
    for name, value in environment(RunnerProfiles=PROFILES, GithubToken="", GithubWebhookSecret="").items():
        monkeypatch.setenv(name, value)


def test_the_docs_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows what the command prints for the example's settings."""
    assert run(["match", "self-hosted", "ubuntu-22.04", "--settings", str(EXAMPLE)]) == 0
    said = capsys.readouterr()
    assert f"```text\n{said.out}```" in DOCS
    assert said.err == ""


LATER = "takes it too, but comes later"
WANTS = "serves only jobs that say self-hosted"


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (
            ["self-hosted", "gpu"],
            0,
            ["first: pool p, image r.example/i", f"  second  {LATER}", "  ours    serves only acme/*"],
        ),
        (
            ["[self-hosted,", "gpu]", "--repository", "acme/app"],
            0,
            ["first: pool p, image r.example/i", f"  second  {LATER}", f"  ours    {LATER}"],
        ),
        (
            ["self-hosted, tiny, gpu"],
            1,
            [
                "No profile: no profile offers all of the labels self-hosted, tiny, gpu.",
                "  first   lacks tiny",
                "  second  lacks tiny",
                "  ours    lacks tiny; serves only acme/*",
            ],
        ),
        (
            ["linux"],
            1,
            [
                "No profile: the job does not ask for a self-hosted runner, as profile first requires (selfHosted).",
                f"  first   {WANTS}",
                f"  second  {WANTS}",
                f"  ours    {WANTS}; serves only acme/*",
            ],
        ),
        (
            ["self-hosted"] * 101,
            1,
            [
                "No profile: the job has more than 100 labels.",
                "  first   offers all of the labels",
                "  second  offers all of the labels",
                "  ours    serves only acme/*",
            ],
        ),
    ],
)
def test_text(arguments: list[str], code: int, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The first line is the answer, the others say why no other profile; no profile ends with 1."""
    assert run(["match", *arguments]) == code
    said = capsys.readouterr()
    assert (said.out.splitlines(), said.err) == (expected, "")


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(("label", "code", "profile"), [("big", 0, "second"), ("tiny", 1, None)])
def test_json(label: str, code: int, profile: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """--json holds the same for a program."""
    assert run(["match", "self-hosted", label, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["profile"] == profile
    assert (found["reason"] is None) is (profile is not None)
    assert found["profiles"][2] == {
        "name": "ours", "takes": False, "missingLabels": [label], "wantsSelfHosted": False,
        "repositories": ["acme/*"], "wrongRepository": True,
    }  # fmt: skip


@pytest.mark.parametrize("shape", ["values", "az"])
def test_secrets_are_not_needed(shape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """References to a vault, as they stand in Azure, are no obstacle, nor is a missing credential."""
    values = environment(
        GithubWebhookSecret="@Microsoft.KeyVault(SecretUri=x)", GithubToken="",
        GithubAppId="1", GithubAppPrivateKey="@Microsoft.KeyVault(SecretUri=x)",
    )  # fmt: skip
    listed = [{"name": name, "slotSetting": False, "value": value} for name, value in values.items()]
    content = json.dumps({"IsEncrypted": False, "Values": values} if shape == "values" else listed)
    (tmp_path / "settings.json").write_text(content, encoding="utf-8-sig")  # as Windows' editors begin a file
    assert run(["match", "self-hosted", "--settings", str(tmp_path / "settings.json")]) == 0
    assert capsys.readouterr().out.startswith("ubuntu-latest: pool batchLinux")


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"Values": {"a": 1}}', '{"Values": []}'])
def test_a_file_of_another_form(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that holds no settings is refused by its name."""
    (tmp_path / "settings.json").write_text(content, encoding="utf-8")
    assert run(["match", "gpu", "--settings", str(tmp_path / "settings.json")]) == 2
    assert "settings.json: has not the form of local.settings.json" in capsys.readouterr().err


def test_no_repository(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no repository's full name is refused."""
    assert run(["match", "gpu", "--repository", "acme", "--settings", str(EXAMPLE)]) == 2
    assert capsys.readouterr().err == "Error: --repository: is not OWNER/NAME\n"


def test_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing file is named."""
    assert run(["match", "gpu", "--settings", str(tmp_path / "none.json")]) == 2
    assert "none.json: cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.usefixtures("surroundings")
def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings with which the function would not start are reported as it would, by their names."""
    monkeypatch.setenv("RunnerProfiles", "[]")
    assert run(["match", "gpu"]) == 2
    assert capsys.readouterr().err.startswith("Error: RunnerProfiles: ")
