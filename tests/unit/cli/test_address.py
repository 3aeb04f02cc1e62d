"""Addresses that are given on the command line."""

import pytest

from orchestrator.cli.address import plain_url
from orchestrator.errors import SettingsError


@pytest.mark.parametrize(
    "url", ["", "x", "https://", "https://u:p@h/", "https://h/#f", "https://h:port/", "https://[h/", "https://h/ä b"]
)
def test_addresses_that_are_refused(url: str) -> None:
    """No secret is sent to what is no plain https:// address, and the address is not quoted."""
    with pytest.raises(SettingsError, match=r"^URL: is not an https:// address$"):
        plain_url("URL", url, query=True)


@pytest.mark.parametrize(
    "url", ["https://h", "https://h:8443/a?b=c", "http://127.0.0.1:7071/api", "http://localhost:1"]
)
def test_addresses_that_are_taken(url: str) -> None:
    """An https:// address is taken as it is, and plain http only on this machine."""
    assert plain_url("URL", url, query=True) == url
