"""The thread that serves the stand-ins."""

import gc
import socket
import threading
import warnings
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.server import Server


def test_a_connection_of_the_last_moment_is_closed() -> None:
    """A client that connects while the server stops sees its connection closed, and nothing of it is left behind."""
    server = Server(web.Application()).start()
    held = threading.Event()
    server.loop.call_soon_threadsafe(held.wait)
    port = urlsplit(server.url).port or 0
    client = socket.create_connection(("127.0.0.1", port))
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    held.set()
    stopping.join()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [warning for warning in caught if f"'127.0.0.1', {port})" in str(warning.message)] == []
    with client:
        assert _closed(client)


def _closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
