"""The runner images, built once for all of these tests."""

from pathlib import Path

import pytest

from tests.image import podman


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the runner image with the fake runner in it, built from the real Dockerfile."""
    if reason := podman.available():
        pytest.skip(reason)
    folder = Path(tmp_path_factory.mktemp("image"))
    return podman.made(podman.IMAGE, lambda: podman.build(folder, podman.IMAGE))


@pytest.fixture(scope="session")
def bare_image(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the same without the entrypoint."""
    assert image  # most of it is this one's
    folder = Path(tmp_path_factory.mktemp("bare"))
    return podman.made(podman.BARE, lambda: podman.build(folder, podman.BARE, bare=True))


@pytest.fixture(scope="session")
def full_image(bare_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the larger image, in which the vendors' tools are scripts."""
    folder = Path(tmp_path_factory.mktemp("full"))
    return podman.made(podman.FULL, lambda: podman.build_full(folder, podman.FULL, bare_image))
