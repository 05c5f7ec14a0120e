"""Who may ask for what: tables of requests."""

import base64
from http import HTTPStatus
from pathlib import Path

import pytest

from processor.errors import SettingsError
from processor.health.access import Access, origin

TOKEN = "canary-7f3a-canary-7f3a"
LOCAL = {"host": "127.0.0.1:8080"}


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1:8080", "localhost:1", "localhost", "[::1]:80", "[::1]"]
)
def test_this_machine_may_ask(peer: str, host: str) -> None:
    assert Access().refusal(peer, {"host": host}, certified=False) is None


@pytest.mark.parametrize("peer", ["10.0.0.7", "fe80::1%eth0", "::ffff:10.0.0.7", "", "nonsense"])
def test_other_machines_may_not(peer: str) -> None:
    refused = Access().refusal(peer, LOCAL, certified=False)
    assert refused is not None
    assert refused.status == HTTPStatus.FORBIDDEN
    assert "set http_token, or http_certificate and http_client_ca" in refused.text


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-real-ip"])
def test_nor_may_they_by_a_proxy_on_this_machine(header: str) -> None:
    refused = Access().refusal("127.0.0.1", {**LOCAL, header: "127.0.0.1"}, certified=False)
    assert refused is not None
    assert refused.status == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "host", ["evil.example:8080", "localhost.evil.example", "127.0.0.1.nip.io", ""]
)
def test_a_name_that_anybody_may_lead_here_is_refused(host: str) -> None:
    refused = Access().refusal("127.0.0.1", {"host": host}, certified=False)
    assert refused is not None
    assert refused.status == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("given", [f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN)])
def test_with_the_token_all_may(given: str) -> None:
    headers = {"host": "orders.example", "authorization": given}
    assert Access(TOKEN).refusal("10.0.0.7", headers, certified=False) is None


@pytest.mark.parametrize(
    "given",
    [
        *("", "Bearer", "Bearer ", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Digest {TOKEN}"),
        *(TOKEN, basic(""), basic("x" + TOKEN), "Basic !", "Basic /w==", "Bearer \u00e9"),
    ],
)
def test_without_it_nobody_may_wherever_they_are(given: str) -> None:
    for peer in ("10.0.0.7", "127.0.0.1"):
        refused = Access(TOKEN).refusal(peer, {**LOCAL, "authorization": given}, certified=False)
        assert refused is not None
        assert refused.status == HTTPStatus.UNAUTHORIZED
        assert TOKEN not in refused.text
        assert refused.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_certificate_is_as_good_as_the_token() -> None:
    assert Access(TOKEN).refusal("10.0.0.7", {}, certified=True) is None
    access = Access(certificate="a", key="b", client_ca="c")
    assert access.refusal("10.0.0.7", {}, certified=True) is None
    refused = access.refusal("127.0.0.1", LOCAL, certified=False)
    assert refused is not None
    assert refused.status == HTTPStatus.FORBIDDEN


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    file = tmp_path / "tls.crt"
    file.write_text("nonsense")
    with pytest.raises(SettingsError, match=r"http_certificate, http_key or .*PEM format"):
        Access(certificate=str(file), key=str(file)).context()
    with pytest.raises(SettingsError, match="No such file"):
        Access(certificate="/nowhere", key="/nowhere").context()
    assert Access().context() is None


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_addresses_that_are_distinguished(peer: str, expected: str) -> None:
    assert origin(peer) == expected


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(Access(token="secret"))
