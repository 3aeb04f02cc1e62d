"""The runner image's exit codes."""

import re
from pathlib import Path

import contract

from orchestrator.runners.exit_codes import AFTER_A_JOB, BEFORE_A_JOB, MEANINGS, SIGNALLED, ImageExitCode, meaning

README = Path(__file__).parents[3] / "runner-images" / "README.md"


def test_they_are_the_images() -> None:
    """Names and numbers are those of the image's entrypoint."""
    theirs = {name: value for name, value in vars(contract).items() if name.isupper() and isinstance(value, int)}
    assert {code.name: code.value for code in ImageExitCode} | {"SIGNALLED": SIGNALLED} == theirs


def test_each_has_a_meaning() -> None:
    """Every exit code of the image's documented contract has its meaning, and no other."""
    text = README.read_text(encoding="utf-8")
    table = text[text.index("| exit code |") :].partition("\n\n")[0]
    documented = [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)]
    assert documented == list(MEANINGS) == list(ImageExitCode)


def test_whether_a_job_had_begun() -> None:
    """All but one tell whether a job had begun."""
    assert AFTER_A_JOB.isdisjoint(BEFORE_A_JOB)
    assert set(ImageExitCode) - AFTER_A_JOB - BEFORE_A_JOB == {ImageExitCode.BROKEN}


def test_meaning() -> None:
    """A code is told with its meaning, also one that a signal left, and one that is not the image's."""
    assert meaning(77) == "exit code 77 (another container had used its claim)"
    assert meaning(143) == "exit code 143 (stopped by signal 15 before a job came)"
    assert meaning(99) == "exit code 99 (not one of the runner image's)"
