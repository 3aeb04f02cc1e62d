"""Makes the picture of the status page that stands in the docs: `python -m tests.status_picture docs/status.png`."""

import base64
import sys
import tempfile
from pathlib import Path

from orchestrator.status.page import Links, page
from tests.chromium import Tab, look
from tests.status_samples import status

# Pixels. So much of the page fits the docs.
WIDTH, HEIGHT = 1080, 1060


async def picture(tab: Tab, address: str) -> bytes:
    """Return the upper part of a page as PNG."""
    await tab.open(address, WIDTH, HEIGHT)
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
    answer = await tab.call("Page.captureScreenshot", format="png", clip=clip)
    return base64.b64decode(answer["data"])


def main(target: Path) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder, "page.html")
        shown.write_text(page(status(), Links()), encoding="utf-8")
        target.write_bytes(look(Path(folder, "profile"), lambda tab: picture(tab, shown.as_uri())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
