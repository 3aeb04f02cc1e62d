"""The network: real HTTP between the real clients and the stand-ins, with two buffers in the place of each socket.

`urllib3` writes its bytes into a `_Line`, aiohttp's own server protocol reads them, and the other way round; what lies
between is virtual time. A connection that is refused, broken or silent looks to the client as it does on a network.
"""

import asyncio
import contextvars
import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast
from unittest import mock

import urllib3.connection
import urllib3.connectionpool
from aiohttp import web
from urllib3.exceptions import NewConnectionError

from orchestrator import bounded_http
from sandbox.chaos.threads import current_worker
from sandbox.chaos.virtual_time import VirtualLoop

HOST = "127.0.0.1"  # nothing listens there: no byte leaves the process
HOP = 0.02  # least seconds that bytes need for one way
_ORDER = 1e-5  # seconds that keep what is sent later behind what was sent before


class Watcher(Protocol):
    """Who is told of each exchange."""

    def departs(self, service: str, request: str) -> None:
        """A client is about to send a request. It may raise."""

    def returns(self, service: str, request: str) -> None:
        """A client has an answer, or knows that none will come. It may raise."""


class Network:
    """Services by their ports.

    Args:
        loop: virtual time.
        seed: of the latencies.
    """

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self.watcher: Watcher | None = None
        self._clean = contextvars.copy_context()
        self._services: dict[int, tuple[str, web.AppRunner]] = {}
        self._down: set[str] = set()

    def add(self, name: str, application: web.Application) -> str:
        """Add a service; return its address, where it answers once the network is up."""
        application.cleanup_ctx.clear()  # they tick in real time; here the simulation does it
        port = len(self._services) + 1
        runner = web.AppRunner(application, access_log=None, keepalive_timeout=4 * 3600, tcp_keepalive=False)
        self._services[port] = (name, runner)
        return f"http://{HOST}:{port}"

    async def up(self) -> None:
        """Let every service answer."""
        for _, runner in self._services.values():
            await runner.setup()

    def set_down(self, name: str, *, down: bool) -> None:
        """Refuse every new connection to a service, or take them again."""
        (self._down.add if down else self._down.discard)(name)

    def connect(self, port: int) -> "_Line":
        """Open a connection.

        Raises:
            ConnectionRefusedError: Nothing answers there.
        """
        name, runner = self._services[port]
        if name in self._down:
            raise ConnectionRefusedError
        return _Line(self, name, cast(web.Server, runner.server))

    def deliver(self, action: Callable[[], object], not_before: float) -> float:
        """Do something in the loop after one way's time, on behalf of nobody; return when."""
        at = max(self.loop.time() + HOP * self.random.uniform(1, 3), not_before)
        self.loop.call_at(at, action, context=self._clean)
        return at

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Let every `requests` session of this process use these services instead of sockets."""
        network = self

        class Connection(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> Any:
                try:
                    return network.connect(self.port or 0)
                except OSError as error:
                    raise NewConnectionError(self, f"Failed to establish a new connection: {error!r}") from error

            @property
            def is_connected(self) -> bool:
                return self.sock is not None and not cast(_Line, self.sock).readable

        with (
            mock.patch.object(urllib3.connectionpool.HTTPConnectionPool, "ConnectionCls", Connection),
            mock.patch.object(bounded_http, "monotonic", self.loop.time),
        ):
            yield


class _Line:
    """A client's end of one connection: what `http.client` and `urllib3` ask of a socket."""

    def __init__(self, network: Network, service: str, server: web.Server) -> None:
        self._network = network
        self._service = service
        self._timeout: float | None = None
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._ended = False
        self._reset = False
        self._resume: Callable[[], None] | None = None
        self._asked: str | None = None
        self._sent_until = self._answered_until = 0.0
        self._protocol: Any = server()
        self._end = _ServerEnd(self, self._protocol)
        self._upwards(lambda: self._protocol.connection_made(self._end))

    @property
    def readable(self) -> bool:
        """Whether there are bytes or the end to be read: an idle connection in this state was closed."""
        return bool(self._incoming) or self._ended

    # The client's side, in a worker ----------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        """Limit the waits."""
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        """Return the limit."""
        return self._timeout

    def sendall(self, data: bytes) -> None:
        """Take bytes; they leave when the client waits for an answer."""
        self._outgoing += data

    def makefile(self, _mode: str, *, buffering: int = -1) -> io.RawIOBase | io.BufferedReader:
        """Return the stream that the answer is read from."""
        answer = _Answer(self)
        return answer if buffering == 0 else io.BufferedReader(answer)

    def close(self) -> None:
        """Hang up."""
        # Whenever a session is forgotten the garbage collector may ask for this, so it must not draw a latency.
        if not self._network.loop.is_closed():
            self._network.loop.call_at(self._sent_until + _ORDER, self._end.lose)

    def shutdown(self, _how: int) -> None:
        """Do nothing: `close` follows."""

    def read(self, most: int) -> bytes:
        """Return bytes of the answer, waiting for the first; none at its end.

        Raises:
            TimeoutError: None came in time.
            ConnectionResetError: The other side broke the connection.
        """
        if self._outgoing:
            self._send()
        in_time = self.readable or current_worker().wait(self._when_readable, self._timeout)
        asked, self._asked = self._asked, None
        if asked is not None and self._network.watcher is not None:
            self._network.watcher.returns(self._service, asked)
        if not in_time:
            raise TimeoutError("timed out")
        if not self._incoming and self._reset:
            raise ConnectionResetError(104, "Connection reset by peer")
        data = bytes(self._incoming[:most])
        del self._incoming[:most]
        return data

    def _send(self) -> None:
        data = bytes(self._outgoing)
        self._outgoing.clear()
        self._asked = data.partition(b" HTTP/")[0].decode()
        if self._network.watcher is not None:
            self._network.watcher.departs(self._service, self._asked)
        self._upwards(lambda: self._end.take(data))

    def _upwards(self, action: Callable[[], object]) -> None:
        self._sent_until = self._network.deliver(action, self._sent_until + _ORDER)

    def _when_readable(self, resume: Callable[[], None]) -> None:
        self._resume = resume

    # The server's side, in the loop ----------------------------------------------------------------------------------

    def answer(self, data: bytes) -> None:
        """Send bytes to the client."""
        self._downwards(lambda: self._arrive(data))

    def hang_up(self, *, reset: bool) -> None:
        """End the connection."""
        self._downwards(lambda: self._arrive(b"", ended=True, reset=reset))

    def _downwards(self, action: Callable[[], object]) -> None:
        self._answered_until = self._network.deliver(action, self._answered_until + _ORDER)

    def _arrive(self, data: bytes, *, ended: bool = False, reset: bool = False) -> None:
        self._incoming += data
        self._ended, self._reset = self._ended or ended, self._reset or reset
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()


class _Answer(io.RawIOBase):
    def __init__(self, line: _Line) -> None:
        self._line = line

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._line.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _ServerEnd(asyncio.Transport):
    """A server's end of one connection: what aiohttp asks of a transport."""

    def __init__(self, line: _Line, protocol: Any) -> None:
        super().__init__()
        self._line = line
        self._protocol = protocol
        self._closing = False

    def take(self, data: bytes) -> None:
        """Give the server bytes of a request."""
        if not self._closing:
            self._protocol.data_received(data)

    def lose(self) -> None:
        """Tell the server that the connection is gone."""
        if not self._closing:
            self._closing = True
            self._protocol.connection_lost(None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes to the client."""
        if not self._closing:
            self._line.answer(bytes(data))

    def close(self) -> None:
        """End the connection after what was written."""
        self._shut(reset=False)

    def abort(self) -> None:
        """Break the connection."""
        self._shut(reset=True)

    def is_closing(self) -> bool:
        """Whether it is over."""
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the address of the client, and nothing else."""
        return (HOST, 0) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: buffers are as large as they must be."""

    def pause_reading(self) -> None:
        """Do nothing: a client waits for its answer before it sends more."""

    def resume_reading(self) -> None:
        """Do nothing: see `pause_reading`."""

    def is_reading(self) -> bool:
        """Whether it takes bytes."""
        return not self._closing

    def _shut(self, *, reset: bool) -> None:
        if not self._closing:
            self._closing = True
            self._line.hang_up(reset=reset)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)
