"""A headless Chromium that is asked over its own protocol, as far as looking at a page needs it."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.waiting import until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """Return the path of a Chromium; None where this machine has none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page of the browser.

    Attributes:
        complaints: what the browser's console and its log had to say.
        requested: the addresses that it asked for.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._is_loaded = False
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something, and return the answer."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])

    async def open(self, address: str, width: int, height: int, scheme: str = "light") -> None:
        """Look at an address, in a window of some size, and wait until it is there."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._is_loaded = False
        await self.call("Page.navigate", url=address)
        while not self._is_loaded:
            await self._receive()

    async def evaluate(self, script: str) -> Any:
        """Return what a script says of the page. Its policy does not hold for the browser's own tools."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press_tab(self) -> None:
        """Move the focus on, as the key does."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    async def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json()
        about = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Log.entryAdded":
                self.complaints.append(about["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(str(about))
            case "Network.requestWillBeSent":
                self.requested.append(about["request"]["url"])
            case _:
                pass
        return message


@asynccontextmanager
async def _browser(path: str, profile: Path) -> AsyncIterator[str]:
    """Start a browser, and yield the address of a page's socket."""
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - it lives as long as the test
        [
            path, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
            "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        address = profile / "DevToolsActivePort"  # it writes its port and a path there, as soon as it listens
        until(lambda: address.exists() and "\n" in address.read_text(encoding="utf-8"))
        port = address.read_text(encoding="utf-8").splitlines()[0]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/json/list") as listed,
        ):
            pages = [page for page in await listed.json(content_type=None) if page["type"] == "page"]
        yield str(pages[0]["webSocketDebuggerUrl"])
    finally:
        process.terminate()
        process.wait()


def look[T](profile: Path, ask: Callable[[Tab], Coroutine[Any, Any, T]]) -> T:
    """Have a browser look at something, and return what came of it.

    Args:
        profile: a folder for the browser's own files.
        ask: what is done in its tab.
    """
    path = chromium()
    assert path is not None

    async def run() -> T:
        async with (
            _browser(path, profile) as address,
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            return await ask(Tab(socket))

    return asyncio.run(run())
