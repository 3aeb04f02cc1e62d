"""The runner images, built once for all of these tests."""

from pathlib import Path

import pytest

from tests.image import podman


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the runner image with the fake runner in it, built from the real Dockerfile."""
    if reason := podman.available():
        pytest.skip(reason)
    with podman.alone("build"):
        if podman.podman("image", "exists", podman.IMAGE, check=False).returncode != 0:
            done = podman.build(Path(tmp_path_factory.mktemp("image")), podman.IMAGE)
            assert done.returncode == 0, done.stdout + done.stderr
    return podman.IMAGE


@pytest.fixture(scope="session")
def full_image(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the larger image, in which the vendors' tools are scripts."""
    with podman.alone("build"):
        if podman.podman("image", "exists", podman.FULL, check=False).returncode != 0:
            done = podman.build_full(Path(tmp_path_factory.mktemp("full")), podman.FULL, image)
            assert done.returncode == 0, done.stdout + done.stderr
    return podman.FULL
