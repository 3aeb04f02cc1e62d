"""A repository's files, as its default branch or another ref has them.

Source: GitHub REST API, "Get a repository", "Get repository content".
"""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from orchestrator.errors import GitHubRefused, UpstreamRefused
from orchestrator.github.client import array, expecting, text
from orchestrator.github.session import GitHubSession
from orchestrator.runners.scope import Scope, ScopeAccess

# What reading files takes, and the function itself does not.
_NEEDS = "reading files takes the permission Contents: read (repo for a classic token)"


class RepositoryFacts(NamedTuple):
    """What is known of a repository.

    Attributes:
        full_name: `owner/name`, as it is called now.
        is_public: whether anybody can see it.
    """

    full_name: str
    is_public: bool


class Contents:
    """Reads files of repositories. Each method is one call, if nothing was renamed.

    Args:
        session: makes the calls.
    """

    def __init__(self, session: GitHubSession) -> None:
        self._session = session

    def repository(self, full_name: str) -> RepositoryFacts:
        """Return what a repository is.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        access = _access(full_name)
        response = self._session.call("GET", access.scope.api_path, access)
        with expecting("GitHub's answer describes no repository"):
            public = not response.json["private"] or response.json.get("visibility") == "public"
            return RepositoryFacts(text(response.json["full_name"]), public)

    def folder(self, full_name: str, path: str) -> Mapping[str, int]:
        """Return the files in a folder of the default branch, with their sizes; none if there is no such folder.

        Raises:
            UpstreamError: GitHub does not tell.
        """
        found = self._get(full_name, path, "")
        with expecting("GitHub's answer lists no files"):
            entries = [] if found is None else array(found)
            return {text(each["path"]): int(each["size"]) for each in entries if each["type"] == "file"}

    def file(self, full_name: str, path: str, ref: str = "") -> bytes | None:
        """Return the content of a file; None if GitHub shows none.

        Args:
            full_name: the repository.
            path: the file.
            ref: a branch, tag or commit; empty for the default branch.

        Raises:
            UpstreamError: GitHub does not tell, or the file is larger than GitHub gives (1 MiB).
        """
        found = self._get(full_name, path, ref)
        if found is None:
            return None
        with expecting(f"GitHub's answer holds no file {path}"):
            if found["encoding"] == "base64":
                return base64.b64decode(text(found["content"]))
        raise UpstreamRefused(f"GitHub gives no content of {path}: it is larger than 1 MiB")

    def _get(self, full_name: str, path: str, ref: str) -> Any:
        access = _access(full_name)
        where = f"{access.scope.api_path}/contents/{quote(path)}"
        try:
            return self._session.call("GET", where, access, params={"ref": ref} if ref else None).json
        except GitHubRefused as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            if error.status == HTTPStatus.FORBIDDEN:
                raise GitHubRefused(f"{error} ({_NEEDS})", error.status) from None
            raise


def _access(full_name: str) -> ScopeAccess:
    return ScopeAccess(Scope("repository", full_name), None)
