"""The server over real sockets, with clients that do it harm."""

import http.client
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import trustme

from processor.addresses import Address
from processor.health import guard, server
from processor.health.access import Access
from processor.health.http import Endpoint
from processor.health.probe import ask

TOKEN = "canary-7f3a-canary-7f3a"
LOCAL = Address("127.0.0.1", 0)


@pytest.fixture
def endpoint() -> Generator[Endpoint]:
    with closing(Endpoint(LOCAL, "orders")) as made:
        yield made


def get(
    endpoint: Endpoint, path: str = "/healthz", body: bytes | None = None, **headers: str
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*endpoint.address, timeout=60)
    connection.request("GET", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer


def raw(endpoint: Endpoint, request: bytes) -> bytes:
    with socket.create_connection(endpoint.address, timeout=60) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_what_is_too_large(endpoint: Endpoint) -> None:
    assert get(endpoint, "/" + "x" * guard.LONGEST_PATH).status == 414
    assert get(endpoint, "/metrics?" + "x" * guard.LONGEST_PATH).status == 414
    head = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    for more in (b"Content-Length: 65537", b"Transfer-Encoding: chunked"):
        answer = raw(endpoint, head + more + b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer.lower()
    assert raw(endpoint, head + b"X: " + b"x" * 20_000).startswith(b"HTTP/1.1 400 ")
    assert get(endpoint, "/metrics", b"x" * 100).status == 200


def test_what_is_no_http(endpoint: Endpoint, capfd: pytest.CaptureFixture[str]) -> None:
    for request in (b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n"):
        assert raw(endpoint, request).startswith(b"HTTP/1.1 400 ")
    upgrade = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
    upgrade += b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert raw(endpoint, upgrade).startswith(b"HTTP/1.1 200 ")
    assert capfd.readouterr().err == "", "a client must not fill the log"


def test_headers_that_browsers_heed(endpoint: Endpoint) -> None:
    for path in ("/metrics", "/nothing"):
        answer = get(endpoint, path)
        assert (answer.getheader("Content-Security-Policy") or "").startswith("default-src 'self';")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Server") is None


def test_a_crowd_makes_room(endpoint: Endpoint) -> None:
    with ExitStack() as stack:
        crowd = [
            stack.enter_context(socket.create_connection(endpoint.address, timeout=60))
            for _ in range(server.MOST_CONNECTIONS + 8)
        ]
        assert get(endpoint).status == 503, "it answers, though nobody else has gone"
        assert crowd[0].recv(1) == b"", "who was there longest had to go"


def test_slow_clients_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    with closing(Endpoint(LOCAL, "orders")) as endpoint:
        with socket.create_connection(endpoint.address, timeout=60) as silent:
            assert silent.recv(1) == b""
        with socket.create_connection(endpoint.address, timeout=60) as idle:
            idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = b"".join(iter(lambda: idle.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")


def test_a_flood_is_refused(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard.Pace, "admits", lambda *_: False)
    answer = get(endpoint)
    assert (answer.status, answer.getheader("Retry-After")) == (429, "1")
    assert answer.getheader("Connection") == "close"


def test_the_pace_of_each_address() -> None:
    now = [0.0]
    pace = guard.Pace(lambda: now[0])
    burst = [pace.admits("a") for _ in range(guard.REQUESTS + 5)]
    assert burst == [True] * guard.REQUESTS + [False] * 5
    assert pace.admits("b")
    now[0] = 1.0 / guard.REQUESTS
    assert [pace.admits("a") for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert sum(pace.admits("a") for _ in range(200)) == guard.REQUESTS


def test_a_token(endpoint: Endpoint) -> None:
    with closing(Endpoint(LOCAL, "orders", Access(TOKEN))) as guarded:
        assert get(guarded, "/metrics").status == 401
        assert get(guarded, "/nothing").status == 401, "nor does it say what there is"
        assert get(guarded, "/healthz").status == 503
        assert get(guarded, "/metrics", Authorization=f"Bearer {TOKEN}").status == 200
    assert get(endpoint, "/metrics", Host="evil.example").status == 421
    assert get(endpoint, "/healthz", Host="evil.example").status == 503


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    files = {name: str(tmp_path / name) for name in ("crt", "key", "ca")}
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(files["crt"])
    leaf.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    access = Access(certificate=files["crt"], key=files["key"], client_ca=files["ca"])
    with closing(Endpoint(LOCAL, "orders", access)) as endpoint:
        asked = _asks_by_tls(endpoint, authority)
        assert asked("/metrics", None) == 403
        assert asked("/healthz", None) == 503
        assert asked("/metrics", authority.issue_cert("ann@example.org")) == 200
        with pytest.raises(OSError):
            asked("/healthz", stranger.issue_cert("eve@example.org"))
        assert ask(endpoint.address, "healthz", tls=True).text == "the node has not begun yet"
        assert not ask(endpoint.address, "healthz").ok, "without TLS it does not answer"


def _asks_by_tls(
    endpoint: Endpoint, authority: trustme.CA
) -> Callable[[str, trustme.LeafCert | None], int]:
    def asked(path: str, own: trustme.LeafCert | None) -> int:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if own is not None:
            own.configure_cert(context)
        with closing(
            http.client.HTTPSConnection(*endpoint.address, timeout=60, context=context)
        ) as connection:
            connection.request("GET", path)
            return connection.getresponse().status

    return asked


def test_workers_load_none_of_it() -> None:
    """A worker's start is what a failover waits for."""
    code = (
        "import sys, processor.worker.process\n"
        "print({'pydantic', 'starlette', 'uvicorn', 'prometheus_client'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
