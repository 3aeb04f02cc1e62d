"""Whole workflows: their jobs, the workflows that they call, and what cannot be used."""

import json
import textwrap
from collections.abc import Mapping

import pytest

from orchestrator.cli.workflow_lint import linter
from orchestrator.cli.workflow_lint.document import Malformed, Place
from orchestrator.cli.workflow_lint.linter import Missing, NotRead, Report, Source, lint
from orchestrator.cli.workflow_lint.report import annotations, document, text
from orchestrator.cli.workflow_lint.rules import Home
from tests.builders import settings

PROFILES = json.dumps(
    [
        {"name": "gpu", "labels": ["gpu", "run-*"], "pool": "p", "image": "r.example/i"},
        {"name": "win", "labels": ["win"], "os": "windows", "pool": "p", "image": "r.example/i"},
    ]
)


class FakeFiles:
    """Files of the repository by name, and of other repositories by their whole address."""

    def __init__(self, files: Mapping[str, str | Exception]) -> None:
        self.files = files

    def shown(self, path: str) -> str:
        """Return the file's name."""
        return path.rpartition("/")[2]

    def read(self, source: Source) -> str:
        """Return a file, or raise what stands for it."""
        found = self.files.get(str(source) if source.repository else self.shown(source.path), Missing())
        if isinstance(found, Exception):
            raise found
        return textwrap.dedent(found)


def look(files: Mapping[str, str | Exception]) -> Report:
    """Lint the files of the repository."""
    paths = [f".github/workflows/{name}" for name in files if "/" not in name]
    return lint(paths, FakeFiles(files), settings(RunnerProfiles=PROFILES), Home("acme/app"))


def said(files: Mapping[str, str | Exception]) -> list[str]:
    """Return what is said, without the last line and the hints."""
    return [line for line in text(look(files)).splitlines()[:-1] if not line.startswith(" ")]


def job(body: str) -> dict[str, str | Exception]:
    """Return a workflow of one job."""
    return {"a.yml": "on: push\njobs:\n  build:\n" + textwrap.indent(textwrap.dedent(body).strip(), "    ")}


def outcomes(files: Mapping[str, str | Exception]) -> list[tuple[str, str | None]]:
    """Return the jobs: their labels, and who takes them."""
    return [(",".join(found.labels), found.profile) for found in look(files).jobs]


FORM = ".github/workflows/FILE.yml"
NEEDS = "needs a container runtime, which a job here has not"
MATRIX = """
    runs-on: [self-hosted, "${{ matrix.os }}"]
    strategy:
      matrix:
        os: [gpu, win, mac]
        exclude: [{os: win}]
        include: [{os: sun}]
"""


def test_a_matrix() -> None:
    """Each combination is a job, and each kind of fault is said once, where `runs-on` stands."""
    assert outcomes(job(MATRIX)) == [("self-hosted,gpu", "gpu"), ("self-hosted,mac", None), ("self-hosted,sun", None)]
    assert [line.partition(": job")[0] for line in said(job(MATRIX))] == ["a.yml:4:14: error unserved"] * 2


@pytest.mark.parametrize(
    ("runs_on", "labels"),
    [
        ("[self-hosted, gpu]", ["self-hosted,gpu"]),
        ('${{ fromJSON(\'["self-hosted", "gpu"]\') }}', ["self-hosted,gpu"]),
        ("{group: Default, labels: [self-hosted, gpu]}", ["self-hosted,gpu"]),
        ("[self-hosted, 'run-${{ github.run_id }}']", ["self-hosted,run-1"]),
        ("${{ github.repository_owner == 'acme' && 'gpu' || 'win' }}", ["gpu"]),
        ("${{ github.actor == 'x' && 'gpu' || 'win' }}", ["gpu", "win"]),
    ],
)
def test_runs_on(runs_on: str, labels: list[str]) -> None:
    """The three forms of `runs-on` and expressions in them come to labels."""
    assert [found for found, _ in outcomes(job(f"runs-on: {runs_on}"))] == labels


def test_what_only_may_be() -> None:
    """What one of several values leads to is a warning, and says so; one that is malformed then is left out."""
    files = job("runs-on: ['self-hosted', \"${{ vars.X && 'gpu' || 'tiny' }}\"]\ncontainer: ${{ vars.IMAGE }}")
    lines = said(files)
    assert [line.split()[1:3] for line in lines] == [["warning", "unserved:"], ["warning", "container:"]]
    assert all(line.endswith("(if the expressions come to that)") for line in lines)
    assert said(job("runs-on: ${{ vars.X && 'gpu' }}")) == []
    dynamic = "runs-on: gpu\nstrategy:\n  matrix:\n    x: ${{ fromJSON(needs.a.outputs.b || '[]') }}"
    assert (said(job(dynamic)), outcomes(job(dynamic))) == ([], [("gpu", "gpu")])
    excluded = (
        "runs-on: [self-hosted, '${{ matrix.x }}']\nstrategy:\n  matrix:\n    x: [tiny]\n    exclude: ${{ needs.a }}"
    )
    assert said(job(excluded))[0].split()[1:3] == ["warning", "unserved:"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("runs-on: ${{ vars.X }}", "a.yml:4:14: notice unknown: job build: runs-on cannot be known: ${{ vars.X }}"),
        ("runs-on: {labels: '${{ vars.X }}'}", "a.yml:4:14: notice unknown: job build: runs-on cannot be known"),
        ("runs-on: [gpu, '${{ vars.X }}']",
         "a.yml:4:14: notice unknown: job build: [gpu, ?] cannot be known in full"),
        ("runs-on: [gpu]\ncontainer: node:20",
         f"a.yml:5:5: error container: job build: container: {NEEDS}"),
        ("runs-on: [gpu]\nservices: {db: {image: postgres}}",
         f"a.yml:5:5: error container: job build: services: {NEEDS}"),
        ("runs-on: [gpu]\nsteps:\n  - run: x\n  - uses: docker://alpine\n  - uses: a/b@v1\n  - x",
         f"a.yml:7:15: error container: job build: an image as an action {NEEDS}"),
        ("runs-on: ''", "a.yml:4:14: error workflow: job build: runs-on is empty, or one of its labels"),
        ("runs-on: ${{ matrix.os }}", "a.yml:4:14: error workflow: job build: runs-on is empty, or one of its labels"),
        ("runs-on: gpu\nif: ${{ a",
         "a.yml:5:9: error workflow: job build: an expression has no end: }} or a quotation mark is missing"),
        ("runs-on: gpu\nstrategy:\n  matrix: []", "a.yml:6:15: error workflow: job build: the matrix is no mapping"),
        ("uses: x", f"a.yml:4:11: error workflow: job build: x is neither ./{FORM} nor OWNER/REPO/{FORM}@REF"),
        ("uses: ./.github/workflows/no.yml",
         "a.yml:4:11: error workflow: job build: there is no workflow ./.github/workflows/no.yml"),
        ("uses: ./.github/workflows/a.yml",
         "a.yml:4:11: error workflow: job build: the workflow .github/workflows/a.yml calls itself"),
    ],
)  # fmt: skip
def test_what_is_said(body: str, expected: str) -> None:
    """Each finding has its place, its job and its reason."""
    assert said(job(body)) == [expected]


@pytest.mark.parametrize(
    "body",
    [
        "runs-on: [self-hosted, tiny]\nif: github.repository == 'acme/other'",
        "runs-on: ubuntu-latest\ncontainer: node:20",
        "runs-on: gpu\ncontainer: ''",
        "runs-on: gpu\ncontainer: {image: ''}\nservices: {db: {image: ''}}",
        "runs-on: gpu\nstrategy: x\nwith: y\nif: [a]",
    ],
)
def test_what_is_right(body: str) -> None:
    """A job that never runs here, or not at all, and an image that is none, are nothing to speak of."""
    assert said(job(body)) == []


def test_services_that_may_be() -> None:
    """Of services one that is sure decides, and one that is not makes a warning."""
    assert "error container" in said(job("runs-on: gpu\nservices: {a: {image: '${{ vars.X }}'}, b: {image: x}}"))[0]
    assert "warning container" in said(job("runs-on: gpu\nservices: {a: {image: '${{ vars.X }}'}, b: {image: ''}}"))[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: [", "1:5: error yaml: expected the node content"),
        ("", "1:1: error workflow: the file holds no workflow"),
        ("- a", "1:1: error workflow: the file holds no workflow"),
        ("jobs: {a: {runs-on: x}}", "1:1: error workflow: the workflow has no on"),
        ("on: push", "1:1: error workflow: the workflow has no jobs"),
        ("on: push\njobs: []", "2:1: error workflow: jobs is no mapping with jobs"),
        ("on: push\njobs: {}", "2:1: error workflow: jobs is no mapping with jobs"),
        ("on: push\njobs: {a: 1}", "2:8: error workflow: job a is no mapping"),
        ("on: push\njobs: {a: {}}", "2:8: error workflow: job a needs runs-on, or uses, and not both"),
        ("on: push\njobs: {a: {runs-on: x, uses: y}}", "2:8: error workflow: job a needs runs-on, or uses, and"),
        ("on: push\njobs: {a: {uses: [y]}}", "2:18: error workflow: uses of job a is no text"),
        ("on: push\njobs: {a: {uses: 1}}", "2:18: error workflow: uses of job a is no text"),
        (Malformed(Place(3, 4), "odd"), "3:4: error yaml: odd"),
        (NotRead("too many"), "1:1: notice not-read: the workflow is not looked at: too many"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used(content: str | Exception, expected: str) -> None:
    """A file that is no workflow is said with the place, and hides no other file."""
    lines = said({"a.yml": content, "b.yml": "on: push\njobs: {a: {runs-on: [self-hosted, tiny]}}"})
    assert lines[0].startswith(f"a.yml:{expected}")
    assert lines[1].startswith("b.yml:2:21: error unserved: job a: ")


CALLED = """
    on:
      workflow_call:
        inputs:
          os: {type: string, default: gpu}
          Big: {type: boolean}
          count: {type: number}
          free: {type: string}
    jobs:
      inner:
        runs-on: [self-hosted, "${{ inputs.os }}", "${{ inputs.big && 'big' || 'linux' }}"]
        if: inputs.count == 0 && inputs.free == ''
"""


def test_a_called_workflow() -> None:
    """Its jobs are those of each call, with the inputs of that call and the defaults; it is not looked at by itself."""
    files = {
        "a.yml": """
            on: [push, pull_request]
            jobs:
              plain: {uses: ./.github/workflows/called.yml}
              other: {uses: ./.github/workflows/called.yml, with: {OS: tiny}}
              many:
                uses: ./.github/workflows/called.yml
                strategy: {matrix: {os: [gpu, win]}}
                with: {os: "${{ matrix.os }}", big: true}
        """,
        "called.yml": CALLED,
    }
    assert sorted({labels for labels, _ in outcomes(files)}) == [
        "self-hosted,gpu,big", "self-hosted,gpu,linux", "self-hosted,tiny,linux", "self-hosted,win,big",
    ]  # fmt: skip
    assert {line.partition(" job")[0] for line in said(files)} == {"called.yml:11:14: error unserved:"}


def test_a_workflow_that_nobody_calls_here() -> None:
    """Its inputs are what its own events may give: options, defaults, or anything."""
    content = """
        on:
          workflow_dispatch:
            inputs:
              os: {type: choice, options: [gpu, tiny]}
              other: {type: choice}
              text: {default: gpu}
              free:
          workflow_call: {inputs: {os: {type: string, default: win}, flag: {type: boolean}}}
        jobs:
          a: {runs-on: [self-hosted, "${{ inputs.os || 'gpu' }}"]}
          b: {runs-on: "${{ inputs.other }}"}
          c: {runs-on: "${{ inputs.text }}"}
          d: {runs-on: "${{ inputs.free }}"}
          e: {runs-on: "${{ inputs.flag && 'gpu' || 'win' }}"}
    """
    assert [labels for labels, _ in outcomes({"a.yml": content})] == [
        "self-hosted,gpu", "self-hosted,tiny", "self-hosted,win", "gpu", "gpu", "win",
    ]  # fmt: skip
    assert [line.partition(" cannot")[0] for line in said({"a.yml": content}) if "unknown" in line] == [
        "a.yml:11:16: notice unknown: job a: [self-hosted, ?]",
        "a.yml:12:16: notice unknown: job b: runs-on",
        "a.yml:13:16: notice unknown: job c: runs-on",
        "a.yml:14:16: notice unknown: job d: runs-on",
    ]
    only = """
        on: {workflow_dispatch: {inputs: {os: {type: choice, options: [tiny]}}}}
        jobs: {a: {runs-on: [self-hosted, '${{ inputs.os }}']}}
    """
    assert "error unserved" in said({"a.yml": only})[0]


def test_calls_that_github_does_not_make() -> None:
    """A workflow that is not on `workflow_call`, a broken one and a circle are said; none is followed for ever."""
    files = {
        "a.yml": """
            on: push
            jobs:
              a: {uses: ./.github/workflows/b.yml}
              c: {uses: ./.github/workflows/c.yml}
              d: {uses: ./.github/workflows/d.yml}
        """,
        "b.yml": "on: push\njobs: {b: {runs-on: gpu}}",
        "c.yml": "on: 1\njobs:",
        "d.yml": "on: workflow_call\njobs: {d: {uses: ./.github/workflows/e.yml}}",
        "e.yml": "on: [workflow_call]\njobs: {e: {uses: ./.github/workflows/d.yml}}",
    }
    assert [line.partition("error ")[2] for line in said(files)] == [
        "workflow: job a: .github/workflows/b.yml cannot be called: it is not on workflow_call",
        "workflow: jobs is no mapping with jobs",
        "workflow: job e: the workflow .github/workflows/d.yml calls itself",
    ]
    circle = {name: files[name] for name in ("d.yml", "e.yml")}
    assert [line.partition(": error")[0] for line in said(circle)] == ["d.yml:2:18", "e.yml:2:18"][1:]


def test_calls_in_a_row() -> None:
    """More calls in a row than GitHub makes are said at the first one too many."""
    files: dict[str, str | Exception] = {
        f"{number:02}.yml": f"on: workflow_call\njobs: {{a: {{uses: ./.github/workflows/{number + 1:02}.yml}}}}"
        for number in range(10)
    }
    files["00.yml"] = str(files["00.yml"]).replace("workflow_call", "push")
    files["10.yml"] = "on: workflow_call\njobs: {a: {runs-on: gpu}}"
    assert said(files) == ["09.yml:2:18: error workflow: job a: more than 10 workflows call each other in a row"]


def test_calls_without_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks into called workflows end some time, however many there would be."""
    monkeypatch.setattr(linter, "MOST_CALLS", 3)
    strategy = "strategy: {matrix: {os: [a, b, c, d, e]}}\nwith: {os: '${{ matrix.os }}'}"
    caller = f"uses: ./.github/workflows/called.yml\n{strategy}"
    files = job(caller) | {"called.yml": CALLED}
    assert len(outcomes(files)) == 2
    assert said(files)[0] == "called.yml:1:1: notice not-read: no more than 3 calls of workflows are looked into"


def test_other_repositories() -> None:
    """A workflow of another repository is looked at if it can be read; what it calls there is there."""
    remote = "acme/shared/.github/workflows/x.yml@v1"
    inner = "on: workflow_call\njobs: {in: {uses: ./.github/workflows/y.yml}}"
    files = job(f"uses: {remote}") | {
        remote: inner,
        "acme/shared/.github/workflows/y.yml@v1": CALLED.replace("gpu", "tiny"),
    }
    report = look(files)
    assert [finding.path for finding in report.findings] == ["acme/shared/.github/workflows/y.yml@v1"]
    assert said(job(f"uses: {remote}") | {remote: NotRead("it is not there")}) == [
        f"a.yml:4:11: notice not-read: job build: the jobs of {remote} are not looked at: it is not there"
    ]


def test_the_report() -> None:
    """The text ends with the counts; the JSON has the same and the jobs; annotations cannot be forged by a label."""
    files = job("runs-on: ['self-hosted', \"a%\\n::error::b,c\\e[31m\"]")
    report = look(files)
    assert text(report).splitlines()[-1] == "1 workflow: 1 error, 0 warnings, 0 notices"
    assert "\x1b" not in text(report)
    (finding,) = document(report)["findings"]
    assert (finding["path"], finding["line"], finding["column"], finding["code"]) == ("a.yml", 4, 14, "unserved")
    assert (finding["severity"], finding["job"]) == ("error", "build")
    (found,) = document(report)["jobs"]
    assert (found["line"], found["job"], found["profile"]) == (3, "build", None)
    (line,) = annotations(report).splitlines()
    assert line.startswith("::error file=a.yml,line=4,col=14,title=unserved::job build: [self-hosted, a%25%0A::e")
    assert max(map(len, text(look(job(f"runs-on: [self-hosted, {'x' * 5000}]"))).splitlines())) == 1000
    named = look({"a,b:c.yml": ""})
    assert annotations(named) == ("::error file=a%2Cb%3Ac.yml,line=1,col=1,title=workflow::the file holds no workflow")
    assert document(named)["findings"][0]["job"] is None
