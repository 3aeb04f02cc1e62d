"""An Azure CLI that the commands find on the PATH."""

from pathlib import Path

import pytest

from tests.azure_cli import AzureCli


@pytest.fixture
def az(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AzureCli:
    """Return the only program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return AzureCli(folder)
