"""Several things at once, in threads."""

import contextvars
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor


class AtOnce:
    """Does something with each of many things, some of them at a time.

    Args:
        threads: where it is done.
        most: how many things are in work at a time.
    """

    def __init__(self, threads: Executor, most: int) -> None:
        self._threads = threads
        self._most = most

    def each[T](self, things: Iterable[T], action: Callable[[T], None]) -> None:
        """Do something with each; return when all is done.

        The things are begun in their order. The log's ids go with them.

        Raises:
            ExceptionGroup: What the action raised. A thread that meets an exception begins nothing more.
        """
        todo = deque(things)

        def work() -> None:
            while True:
                try:
                    thing = todo.popleft()
                except IndexError:
                    return
                action(thing)

        count = min(self._most, len(todo))
        futures = [self._threads.submit(contextvars.copy_context().run, work) for _ in range(count)]
        errors: list[Exception] = []
        for future in futures:
            try:
                future.result()
            except Exception as error:  # noqa: BLE001 - it is raised when the others have ended
                errors.append(error)
        if errors:
            raise ExceptionGroup("not everything was done", errors)
