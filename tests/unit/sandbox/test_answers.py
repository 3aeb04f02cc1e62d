"""The table of answers, read from the documentation."""

import pytest

from sandbox.chaos.answers import documented_answers, read_answers

TABLE = """
| setting | default | meaning |
|---|---|---|
| `UbuntuPool` | `none` | 200 machines |

| status | `result` | when |
|---|---|---|
| 200 | `removed`, `left` | the job ended |
| 400, 413 | `refused` | malformed, or larger than `MaxRequestBytes` |
| 401 | `refused` | not signed with the `secret` |

| 500 | `other` | another table |
"""


def test_table() -> None:
    """Cells with several statuses or results are understood, other tables left out."""
    assert read_answers(TABLE) == {
        (200, "removed"),
        (200, "left"),
        (400, "refused"),
        (413, "refused"),
        (401, "refused"),
    }


@pytest.mark.parametrize(
    "markdown", ["", TABLE.replace("`refused`", ""), TABLE.replace("400, 413", "400s"), TABLE.replace("when", "why")]
)
def test_unreadable(markdown: str) -> None:
    """A table that is missing or not understood is an error: the check would else be about nothing."""
    with pytest.raises(ValueError, match=r"there is no table of answers|neither status nor result"):
        read_answers(markdown)


def test_documentation() -> None:
    """The documentation's own table is found and understood."""
    assert {(201, "created"), (200, "removed"), (415, "refused"), (401, "refused")} <= documented_answers()
