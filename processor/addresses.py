"""Addresses to listen on, as settings write them. Knows nothing of sockets."""

import re
from typing import Final, NamedTuple

from processor.errors import UsageError

_LOOPBACK: Final = "127.0.0.1"
_EVERYWHERE: Final = {"0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104 - to be connected to
_FORM: Final = re.compile(r"(?:(?P<host>[\w.-]+)|\[(?P<v6>[\da-fA-F:.]+)\])?:(?P<port>\d{1,5})")
_HIGHEST: Final = 65535


class Address(NamedTuple):
    """Where to listen: a host and a TCP port, 0 for any free one."""

    host: str
    port: int

    @property
    def local(self) -> "Address":
        """Where this machine finds it: what listens everywhere does so on the loopback, too."""
        return Address(_EVERYWHERE.get(self.host, self.host), self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address that `host:port`, `[v6]:port` or `:port` means; without a host the loopback.

    Raises:
        UsageError: It is something else.
    """
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > _HIGHEST:
        raise UsageError(
            f"{text!r} is no address: write host:port, such as 0.0.0.0:8080, or :8080 for this "
            "machine alone"
        )
    return Address(found["host"] or found["v6"] or _LOOPBACK, int(found["port"]))
