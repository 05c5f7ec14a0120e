"""How nodes find each other's HTTP endpoints, and what they show there."""

import contextlib
import socket

from processor.addresses import Address, parse_address
from processor.client.transport import Address as Peer
from processor.settings import Settings


def advertised(settings: Settings, listening: Address) -> str:
    """The URL by which other nodes reach this one's endpoint.

    Args:
        settings: The node's.
        listening: Where it listens, with the port that it has.
    """
    address = listening
    if settings.http_advertised:
        given = parse_address(settings.http_advertised)
        address = Address(given.host, given.port or listening.port)
    elif listening.local != listening:  # everywhere
        address = Address(_own_host(settings.bootstrap), listening.port)
    return f"{'https' if settings.http_certificate else 'http'}://{address}"


def shown_to_others(settings: Settings) -> Peer:
    """What this node shows when it asks another one; all have the same settings."""
    ca = settings.http_ca or settings.http_client_ca
    certificate, key = settings.http_certificate, settings.http_key
    if not settings.http_client_ca:  # nobody looks at it
        certificate = key = ""
    return Peer("http://other", settings.http_token, ca, certificate, key)


def _own_host(bootstrap: str) -> str:
    """This machine's address towards the brokers, which other nodes reach as well."""
    first = bootstrap.split(",", maxsplit=1)[0].rpartition("://")[2].strip()
    host = first.rpartition(":")[0] if first.rpartition(":")[2].isdecimal() else first
    with contextlib.suppress(OSError):
        for kind, _, _, _, where in socket.getaddrinfo(host.strip("[]"), 9, type=socket.SOCK_DGRAM):
            with socket.socket(kind, socket.SOCK_DGRAM) as probe:
                probe.connect(where)  # sends nothing
                return str(probe.getsockname()[0])
    return socket.gethostname()
