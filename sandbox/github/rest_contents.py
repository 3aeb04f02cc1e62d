"""GitHub's operations on a repository and its files."""

from sandbox.github.model import Refusal, Repository
from sandbox.github.payloads import DEFAULT_BRANCH
from sandbox.github.rest import Call, Reply, Route


def routes() -> list[Route]:
    """The operations."""
    base = "/repos/{owner}/{repo}"
    return [
        Route("GET", base, get_repository, ("metadata", "read")),
        Route("GET", f"{base}/contents/{{path:.+}}", get_content, ("contents", "read")),
    ]


def get_repository(call: Call) -> Reply:
    """Return a repository."""
    return Reply(call.core.payloads.full_repository(_repository(call)))


def get_content(call: Call) -> Reply:
    """Return a file, or what is in a folder."""
    repository, payloads = _repository(call), call.core.payloads
    ref, path = call.query.get("ref", DEFAULT_BRANCH), call.path["path"].strip("/")
    files = call.core.state.files.get((repository.full_name.lower(), ref), {})
    if path in files:
        return Reply(payloads.whole_content(repository, path, ref, files[path]))
    inside = {name: content for name, content in files.items() if name.startswith(f"{path}/")}
    if not inside:
        raise Refusal(404, "Not Found")
    entries = {}
    for name, content in inside.items():
        first, slash, _ = name.removeprefix(f"{path}/").partition("/")
        own = f"{path}/{first}"
        entries[own] = payloads.content(repository, own, ref, None if slash else content)
    return Reply([entries[name] for name in sorted(entries)])


def _repository(call: Call) -> Repository:
    found = call.core.state.repositories.get(call.scope.name)
    if found is None:
        raise Refusal(404, "Not Found")
    return found
