"""A stand-in for the Azure CLI, which prints what a test says."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAM = """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
calls = json.loads((here / 'calls').read_text())
(here / 'calls').write_text(json.dumps([*calls, sys.argv[1:]]))
code = int((here / 'code').read_text())
outs = json.loads((here / 'outs').read_text())
print(outs[min(len(calls), len(outs) - 1)], file=sys.stderr if code else sys.stdout)
sys.exit(code)
"""


class AzureCli:
    """A stand-in for the program `az`.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.program = folder / "az"
        self._folder = folder
        self.write(PROGRAM)
        (folder / "calls").write_text("[]", encoding="utf-8")
        self.ends_with(0)

    def write(self, text: str) -> None:
        """Become another program."""
        self.program.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        self.program.chmod(0o755)

    def prints(self, *outs: str) -> None:
        """Print this in the first call, and so on; the last one again and again."""
        (self._folder / "outs").write_text(json.dumps(outs), encoding="utf-8")

    def finds(self, *answers: Sequence[object]) -> None:
        """Answer each call with rows whose messages hold these."""
        self.prints(*(json.dumps([{"Message": json.dumps(row)} for row in rows]) for rows in answers))

    def ends_with(self, code: int) -> None:
        """End so; if not with 0, what it prints goes to stderr."""
        (self._folder / "code").write_text(str(code), encoding="utf-8")

    @property
    def calls(self) -> list[list[Any]]:
        """The arguments of each call so far."""
        made: list[list[Any]] = json.loads((self._folder / "calls").read_text(encoding="utf-8"))
        return made
