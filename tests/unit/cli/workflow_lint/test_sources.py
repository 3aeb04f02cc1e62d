"""Where workflows are read, and what of them is not."""

from pathlib import Path

import pytest

from orchestrator.cli.workflow_lint.document import MOST_CHARACTERS, Malformed, Place
from orchestrator.cli.workflow_lint.linter import Missing, NotRead, Source
from orchestrator.cli.workflow_lint.sources import MOST_CALLS, GitHubFiles, LocalFiles, is_repository
from orchestrator.errors import GitHubRefused, SettingsError, UpstreamRefused

FOLDER = ".github/workflows"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a folder with two workflows."""
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name in ("b.yml", "a.yaml", "README.md"):
        (folder / name).write_bytes(b"\xef\xbb\xbfon: push\r\n")
    return tmp_path


def test_a_folder(repository: Path) -> None:
    """A repository's folder, and its folder of workflows, are the same; other files are left alone."""
    for path in (repository, repository / FOLDER):
        files = LocalFiles(path)
        assert files.paths == [f"{FOLDER}/a.yaml", f"{FOLDER}/b.yml"]
        assert files.shown(files.paths[0]) == str(repository / FOLDER / "a.yaml")
        assert files.read(Source(files.paths[1])) == "on: push\r\n"  # without the byte order mark


def test_one_file(repository: Path) -> None:
    """A lone workflow is looked at alone, and finds the one that it calls beside it."""
    files = LocalFiles(repository / FOLDER / "b.yml")
    assert files.paths == [f"{FOLDER}/b.yml"]
    assert files.read(Source(f"{FOLDER}/a.yaml"))
    with pytest.raises(Missing):
        files.read(Source(f"{FOLDER}/none.yml"))


def test_what_is_not_read(repository: Path) -> None:
    """Other repositories, folders, other encodings and very large files are not read, each with its reason."""
    files = LocalFiles(repository)
    with pytest.raises(NotRead, match="only with OWNER/REPO"):
        files.read(Source("x.yml", "acme/shared", "v1"))
    (repository / FOLDER / "d.yml").mkdir()
    with pytest.raises(NotRead, match="cannot be read"):
        files.read(Source("d.yml"))
    (repository / FOLDER / "a.yaml").write_bytes(b"on: push\nname: \xe4\n")
    with pytest.raises(Malformed) as caught:
        files.read(Source("a.yaml"))
    assert (caught.value.place, caught.value.message) == (Place(2, 7), "the file is not UTF-8")
    (repository / FOLDER / "a.yaml").write_bytes(b"#" * (MOST_CHARACTERS + 1))
    with pytest.raises(Malformed, match="larger than 1 MiB"):
        files.read(Source("a.yaml"))


def test_no_workflow(tmp_path: Path) -> None:
    """A folder without workflows, and a path that is not there, are named."""
    with pytest.raises(SettingsError, match="has no workflow"):
        LocalFiles(tmp_path)
    with pytest.raises(SettingsError, match="there is no such file or folder"):
        LocalFiles(tmp_path / "none")


def test_of_github() -> None:
    """Files are read of the default branch, and of another repository at the ref that a call names."""
    asked = []

    def read(*what: str) -> bytes | None:
        asked.append(what)
        return None if what[1] == "none" else b"on: push"

    files = GitHubFiles("acme/app", {"b.yml": 1, "a.yaml": 1, "x.md": 1, "big.yml": MOST_CHARACTERS + 1}, read)
    assert (files.paths, files.shown("a.yaml")) == (["a.yaml", "b.yml", "big.yml"], "a.yaml")
    assert files.read(Source("a.yaml")) == files.read(Source("x.yml", "acme/shared", "v1")) == "on: push"
    with pytest.raises(Missing):
        files.read(Source("none"))
    with pytest.raises(NotRead, match="GitHub shows no such file to the credential"):
        files.read(Source("none", "acme/shared", "v1"))
    with pytest.raises(Malformed, match="larger than 1 MiB"):
        files.read(Source("big.yml"))
    assert asked == [
        ("acme/app", "a.yaml", ""), ("acme/shared", "x.yml", "v1"), ("acme/app", "none", ""),
        ("acme/shared", "none", "v1"),
    ]  # fmt: skip
    for _ in range(MOST_CALLS - len(asked)):
        files.read(Source("a.yaml"))
    with pytest.raises(NotRead, match=f"no more than {MOST_CALLS} files are read"):
        files.read(Source("a.yaml"))


def test_refusals_of_github() -> None:
    """A refusal ends the command for the repository itself; another repository is only not read."""

    def refused(*_: str) -> bytes | None:
        raise GitHubRefused("no", 403)

    files = GitHubFiles("acme/app", {}, refused)
    with pytest.raises(GitHubRefused):
        files.read(Source("a.yml"))
    with pytest.raises(NotRead, match="no"):
        files.read(Source("a.yml", "acme/shared", "v1"))

    def too_large(*_: str) -> bytes | None:
        raise UpstreamRefused("too large")

    with pytest.raises(NotRead, match="too large"):
        GitHubFiles("acme/app", {}, too_large).read(Source("a.yml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/app", True), ("a-b/c.d_e", True), ("acme/.github", True), ("acme", False), ("a/b/c", False),
        ("../x", False), ("x/..", False), ("./x", False), ("acme/", False), ("ä/b", False), ("a/b\n", False),
    ],
)  # fmt: skip
def test_is_repository(text: str, expected: bool) -> None:
    """A name climbs nowhere and holds nothing but what GitHub's names hold."""
    assert is_repository(text) is expected
