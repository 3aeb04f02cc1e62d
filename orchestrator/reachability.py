"""Whether a host can be reached from here: a connection, its certificate, and any answer."""

import socket
from urllib.parse import urlsplit

import requests

from orchestrator.bounded_http import bounded_session
from orchestrator.egress import DIRECT, Egress

# Seconds to connect, and for the whole try.
CONNECT_TIMEOUT = 3.0
TOTAL_TIMEOUT = 4.0


class Reachability:
    """Tries hosts.

    Args:
        egress: the way out.
    """

    def __init__(self, egress: Egress = DIRECT) -> None:
        self._egress = egress

    def trouble(self, url: str) -> str | None:
        """Return why a host cannot be reached; None if it can. Whatever it answers, it was reached.

        Args:
            url: with https:// or http:// it is asked for the head of its page, by the proxy if there is one; with
                tcp:// there is only a connection.
        """
        parts = urlsplit(url)
        try:
            if parts.scheme == "tcp":
                socket.create_connection((parts.hostname or "", parts.port or 0), CONNECT_TIMEOUT).close()
            else:
                timeouts = (CONNECT_TIMEOUT, TOTAL_TIMEOUT)
                with bounded_session(TOTAL_TIMEOUT, self._egress) as session:
                    session.head(url, timeout=timeouts, allow_redirects=False)
        except requests.exceptions.SSLError:
            return "its certificate is not believed (does something inspect TLS? see CaCertificates)"
        except requests.exceptions.ProxyError:
            return "the proxy does not lead there"
        except (requests.RequestException, OSError, ValueError) as error:
            return f"no connection ({type(error).__name__})"
        return None
