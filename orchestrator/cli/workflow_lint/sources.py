"""Where workflows are read: in a folder, or in a repository at GitHub."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestrator.cli.workflow_lint.document import MOST_CHARACTERS, Malformed, Place
from orchestrator.cli.workflow_lint.linter import Missing, NotRead, Source
from orchestrator.errors import GitHubRefused, SettingsError, UpstreamRefused

WORKFLOWS = ".github/workflows"
# Files that are read of other repositories, and calls to GitHub that all files may cost.
MOST_CALLS = 200
_ENDINGS = (".yml", ".yaml")

# Reads a file of a repository (`owner/name`, path, ref); None if there is none.
type ReadContent = Callable[[str, str, str], bytes | None]


class LocalFiles:
    """Workflows in a folder.

    Args:
        path: a repository's folder, a folder with workflows, or one workflow.

    Attributes:
        paths: the workflows, as they are called inside the repository.

    Raises:
        SettingsError: There is no such path, or no workflow in it.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise SettingsError.of(str(path), "there is no such file or folder, and it is not OWNER/REPO")
        folder = path if path.is_dir() else path.parent
        if (path / WORKFLOWS).is_dir():
            folder = path / WORKFLOWS
        found = sorted(each for each in folder.iterdir() if each.suffix in _ENDINGS) if path.is_dir() else [path]
        if not found:
            raise SettingsError.of(str(path), f"has no workflow: no *.yml or *.yaml in {WORKFLOWS}, nor in it")
        # What is called is looked for where GitHub does; a lone file's neighbours count as in the same folder.
        self._folder = folder
        self.paths = [f"{WORKFLOWS}/{each.name}" for each in found]

    def shown(self, path: str) -> str:
        """Return a file as it can be opened from here."""
        return str(self._folder / path.rpartition("/")[2])

    def read(self, source: Source) -> str:
        """Return a file's content; see `linter.Files`."""
        if source.repository:
            raise NotRead("another repository's workflow is read only with OWNER/REPO")
        try:
            with (self._folder / source.path.rpartition("/")[2]).open("rb") as file:
                return decoded(file.read(MOST_CHARACTERS + 1))
        except FileNotFoundError:
            raise Missing from None
        except OSError as error:
            raise NotRead(f"it cannot be read ({error.strerror})") from None


class GitHubFiles:
    """Workflows of a repository at GitHub, and of those whose workflows it calls.

    Args:
        repository: `owner/name`.
        sizes: the files in its folder of workflows, and their sizes.
        read: reads a file.

    Attributes:
        paths: its workflows.
    """

    def __init__(self, repository: str, sizes: Mapping[str, int], read: ReadContent) -> None:
        self.paths = sorted(path for path in sizes if path.endswith(_ENDINGS))
        self._sizes = sizes
        self._repository = repository
        self._read = read
        self._calls = 0

    def shown(self, path: str) -> str:
        """Return a file as it is called in its repository."""
        return path

    def read(self, source: Source) -> str:
        """Return a file's content; see `linter.Files`.

        Raises:
            UpstreamError: GitHub does not answer.
        """
        if self._calls >= MOST_CALLS:
            raise NotRead(f"no more than {MOST_CALLS} files are read")
        if not source.repository and self._sizes.get(source.path, 0) > MOST_CHARACTERS:
            raise _too_large()
        self._calls += 1
        try:
            content = self._read(source.repository or self._repository, source.path, source.ref)
        except UpstreamRefused as error:
            if isinstance(error, GitHubRefused) and not source.repository:
                raise
            raise NotRead(str(error)) from None
        if content is None:
            raise NotRead("GitHub shows no such file to the credential") if source.repository else Missing
        return decoded(content)


def decoded(content: bytes) -> str:
    """Return a file's text.

    Raises:
        Malformed: It is no text, or too long.
    """
    if len(content) > MOST_CHARACTERS:
        raise _too_large()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"))
        raise Malformed(place, "the file is not UTF-8") from None


def is_repository(text: str) -> bool:
    """Whether a text can be the name of a repository."""
    return re.fullmatch(r"(?!\.{1,2}/)[\w.-]{1,100}/(?!\.{1,2}\Z)[\w.-]{1,100}", text, re.ASCII) is not None


def _too_large() -> Malformed:
    return Malformed(Place(1, 1), "the file is larger than 1 MiB")
