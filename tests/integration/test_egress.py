"""Calls leave the network by the proxy, and believe the company's own certificate authority: every client does so.

The proxy and the HTTPS server are real ones, on loopback ports. The proxy leads every host to that server.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from orchestrator.azure.batch_account import BatchAccount
from orchestrator.azure.identity import identity
from orchestrator.azure.pools import PoolClient
from orchestrator.azure.request_queue import RequestQueue
from orchestrator.azure.tasks import RunnerTasks
from orchestrator.config.storage import FunctionStorage
from orchestrator.egress import DIRECT, Egress
from orchestrator.errors import OrchestratorError, TransientError
from orchestrator.github.client import GitHubClient
from orchestrator.reachability import Reachability
from tests.builders import settings

HOSTS = ["github.example", "acct.batch.example", "acct.queue.example", "login.microsoftonline.com"]
KEY = AzureNamedKeyCredential("acct", "a2V5")


class Authority:
    """A certificate authority as companies have them: none of the extensions that RFC 5280 asks for.

    Args:
        folder: keeps the server's certificate and key.
    """

    def __init__(self, folder: Path) -> None:
        key, name = ec.generate_private_key(ec.SECP256R1()), _name(f"Authority of {folder}"[-60:])
        self._made = _certificate(name, name, key, key).sign(key, hashes.SHA256())
        server_key = ec.generate_private_key(ec.SECP256R1())
        names = [*map(x509.DNSName, HOSTS), x509.IPAddress(ip_address("127.0.0.1"))]
        server = (
            _certificate(_name("server"), name, server_key, key)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.chain = folder / "server.pem"
        self.chain.write_bytes(private + server.public_bytes(Encoding.PEM))

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return self._made.public_bytes(Encoding.PEM).decode()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key is signer, path_length=None), critical=True)
    )


class Service(BaseHTTPRequestHandler):
    """Answers every call with an empty JSON object."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_POST = do_HEAD = answer  # noqa: N815 - the library's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


class Proxy(Service):
    """Leads every CONNECT to one server, and remembers what was asked."""

    target: tuple[str, int]
    asked: list[str]
    passwords: list[str | None]

    def do_CONNECT(self) -> None:
        """Connect the caller with the server."""
        self.asked.append(self.path)
        self.passwords.append(self.headers.get("proxy-authorization"))
        with socket.create_connection(self.target) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection))
            back.start()
            _pump(self.connection, there)
            back.join()
        self.close_connection = True


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that go away."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(handler: type[Service], chain: Path | None = None) -> Iterator[int]:
    """Serve on a loopback port; give it."""
    server = QuietServer(("127.0.0.1", 0), handler)
    if chain is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.daemon_threads, server.block_on_close = True, False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return an authority of one's own."""
    return Authority(tmp_path)


@pytest.fixture
def server(authority: Authority) -> Iterator[int]:
    """Serve by HTTPS, with a certificate of that authority; return the port."""
    with served(Service, authority.chain) as port:
        yield port


class Way:
    """The way out by a proxy, and what it was asked for."""

    def __init__(self, proxy: type[Proxy], port: int, authority: Authority) -> None:
        self.asked = proxy.asked
        self.passwords = proxy.passwords
        self.address = f"127.0.0.1:{port}"
        self.ca_certificates = authority.pem

    def egress(self, user: str = "", no_proxy: str = "") -> Egress:
        """Return it as the settings describe it."""
        return settings(
            HTTPS_PROXY=f"http://{user}{self.address}", NO_PROXY=no_proxy, CaCertificates=self.ca_certificates
        ).egress


@pytest.fixture
def way(server: int, authority: Authority) -> Iterator[Way]:
    """Return the way out by a proxy to that server."""
    proxy = type("OurProxy", (Proxy,), {"target": ("127.0.0.1", server), "asked": [], "passwords": []})
    with served(proxy) as port:
        yield Way(proxy, port, authority)


def ask_github(egress: Egress) -> None:
    """Call GitHub."""
    assert GitHubClient("https://github.example", egress=egress).call("GET", "/meta", authorization=None).json == {}


def ask_for_tasks(egress: Egress) -> None:
    """Look for a task on Batch."""
    RunnerTasks(BatchAccount("https://acct.batch.example", KEY, egress)).live("linux")


def ask_for_a_pool(egress: Egress) -> None:
    """Look at a pool on Batch."""
    PoolClient(BatchAccount("https://acct.batch.example", KEY, egress)).get("linux")


def ask_the_queue(egress: Egress) -> None:
    """Look for dead letters; the answer is not the queue's."""
    storage = FunctionStorage(
        connection_string=SecretStr("QueueEndpoint=https://acct.queue.example;AccountName=acct;AccountKey=a2V5")
    )
    with contextlib.suppress(OrchestratorError):
        RequestQueue(storage, egress).revive()


def ask_for_a_token(egress: Egress) -> None:
    """Ask Entra ID for a token; the answer is none."""
    with contextlib.suppress(ClientAuthenticationError):
        identity(None, egress).get_token("https://batch.core.windows.net/.default")


@pytest.mark.parametrize(
    ("ask", "host"),
    [
        (ask_github, "github.example"),
        (ask_for_tasks, "acct.batch.example"),
        (ask_for_a_pool, "acct.batch.example"),
        (ask_the_queue, "acct.queue.example"),
        (ask_for_a_token, "login.microsoftonline.com"),
    ],
)
def test_every_client_goes_by_the_proxy(
    way: Way, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Egress], None], host: str
) -> None:
    """GitHub, Batch, the queue and Entra ID are called by the proxy, and the company's authority is believed."""
    for name, value in {"TENANT_ID": "t", "CLIENT_ID": "c", "CLIENT_SECRET": "s"}.items():
        monkeypatch.setenv(f"AZURE_{name}", value)
    ask(way.egress())
    assert set(way.asked) == {f"{host}:443"}


def test_what_can_be_reached(way: Way, server: int) -> None:
    """A host is reached by the proxy, with the company's authority, or by a mere connection, whatever it answers."""
    found = Reachability(way.egress())
    urls = ["https://github.example", f"https://127.0.0.1:{server}", f"tcp://127.0.0.1:{server}"]
    assert [found.trouble(url) for url in urls] == [None, None, None]
    assert way.asked == ["github.example:443"]


def test_what_cannot_be_reached(way: Way, server: int) -> None:
    """Why a host is not reached is told: its certificate, the proxy, or that nobody is there."""
    nobody = "http://127.0.0.1:9"
    assert Reachability().trouble(f"https://127.0.0.1:{server}") == (
        "its certificate is not believed (does something inspect TLS? see CaCertificates)"
    )
    closed = settings(HTTPS_PROXY=nobody).egress
    assert Reachability(closed).trouble("https://github.example") == "the proxy does not lead there"
    assert Reachability().trouble(nobody) == "no connection (ConnectionError)"
    assert Reachability().trouble("tcp://127.0.0.1:9") == "no connection (ConnectionRefusedError)"
    assert Reachability(way.egress()).trouble("https://") == "no connection (InvalidURL)"


def test_a_proxy_with_a_password(way: Way) -> None:
    """A user and a password in the proxy's URL are sent to the proxy."""
    ask_github(way.egress(user="me:s3cret@"))
    assert way.passwords == ["Basic bWU6czNjcmV0"]


def test_what_needs_no_proxy(way: Way, server: int) -> None:
    """A host of `NO_PROXY` is called directly, and so is the machine itself."""
    GitHubClient(f"https://127.0.0.1:{server}", egress=way.egress()).call("GET", "/meta", authorization=None)
    with pytest.raises(TransientError, match="not reachable"):  # there is no such host
        ask_github(way.egress(no_proxy=".example"))
    assert way.asked == []


def test_an_authority_that_is_not_named(server: int) -> None:
    """Without the setting a certificate of the company's own is refused."""
    client = GitHubClient(f"https://127.0.0.1:{server}", egress=DIRECT)
    with pytest.raises(TransientError, match="SSLError"):
        client.call("GET", "/meta", authorization=None)


def test_the_public_authorities_stay(
    server: int, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The company's authority is believed beside the public ones, in whose place another one stands here."""
    folder = tmp_path / "public"
    folder.mkdir()
    public = Authority(folder)
    (folder / "roots.pem").write_text(public.pem, encoding="ascii")
    monkeypatch.setattr("orchestrator.bounded_http.DEFAULT_CA_BUNDLE_PATH", str(folder / "roots.pem"))
    egress = Egress(ca_certificates=authority.pem)
    with served(Service, public.chain) as elsewhere:
        for port in (server, elsewhere, server):
            GitHubClient(f"https://127.0.0.1:{port}", egress=egress).call("GET", "/", authorization=None)
