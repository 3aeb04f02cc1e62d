"""Reads every log line of a run: for the story of the job it is about, for mistakes, and for secrets."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_JOB = re.compile(r'runner-(\d+)-\d+|"job": (\d+)')
_DELIVERY = re.compile(r'"delivery": "([0-9a-f-]+)"')
# How secrets look that come to be during a run: registration tokens, GitHub's tokens, JIT configurations and JWTs.
_SHAPES = re.compile(r"\bA[0-9A-F]{28}\b|\bgh[ps]_\w{4,}|\bey[IJ][\w+/=.-]{40,}|-----BEGIN")


def holds_secret(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text holds one of these secrets, or something that looks like one."""
    return _SHAPES.search(text) is not None or any(secret in text for secret in secrets)


class LogWatch(logging.Handler):
    """Takes the lines.

    Args:
        secrets: texts that no line may hold.
        about: takes a line for the story of a job, by the job's id or the delivery's.
        violate: is told of a broken invariant.
    """

    def __init__(
        self,
        secrets: tuple[str, ...],
        about: Callable[[str | int, str], None],
        violate: Callable[[str, str], None],
    ) -> None:
        super().__init__(logging.INFO)
        self._secrets = secrets
        self._about = about
        self._violate = violate

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        line = self.format(record)
        if holds_secret(line, self._secrets):
            self._violate("no secret in the log", f"a line of {record.name} holds a secret")
        if record.exc_info and record.name.startswith("orchestrator"):
            self._violate("no mistake of ours", line)
        if found := _JOB.search(line):
            self._about(int(found[1] or found[2]), f"log: {line}")
        elif found := _DELIVERY.search(line):
            self._about(found[1], f"log: {line}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Take every line of the process, and keep them from anybody else meanwhile."""
        root, azure = logging.getLogger(), logging.getLogger("azure")
        handlers, level, azure_level = root.handlers[:], root.level, azure.level
        root.handlers[:] = [self]
        root.setLevel(logging.INFO)
        azure.setLevel(logging.WARNING)  # as function_app.py does
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            azure.setLevel(azure_level)
