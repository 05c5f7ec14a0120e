import pytest

from processor.addresses import Address, parse_address
from processor.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        (":8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("0.0.0.0:8080", Address("0.0.0.0", 8080), "0.0.0.0:8080"),
        ("node-1.kproc:0", Address("node-1.kproc", 0), "node-1.kproc:0"),
        ("[::]:65535", Address("::", 65535), "[::]:65535"),
    ],
)
def test_host_and_port(text: str, expected: Address, shown: str) -> None:
    assert parse_address(text) == expected
    assert str(expected) == shown


@pytest.mark.parametrize(
    "text", ["", "8080", ":", ":65536", "host:", "a b:1", "::1:80", "http://a:1", ":-1", ":1:2"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no address: write host:port"):
        parse_address(text)


@pytest.mark.parametrize(
    ("host", "local"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.1", "10.0.0.1")]
)
def test_what_listens_everywhere_is_found_on_the_loopback(host: str, local: str) -> None:
    assert Address(host, 1).local == Address(local, 1)
