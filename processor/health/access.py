"""Who may ask a node for what. Pure: from what is known of a request to whether it is refused.

Health says nothing of the application, and is for all. The rest is for those who have the token or
a certificate; where neither is set, for those at this machine.
"""

import base64
import binascii
import hmac
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

from processor.errors import SettingsError

HEALTH: Final = frozenset(("/healthz", "/readyz"))
"""The paths that everybody may ask for."""

_PROXIED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="kproc", charset="UTF-8"'}
_V6_NETWORK: Final = 64
"""Bits of an address that distinguish IPv6 hosts: the rest they choose themselves."""

Headers: TypeAlias = Mapping[str, str]
"""A request's or response's, by their names in small letters."""


class Refusal(NamedTuple):
    """Why something is not answered."""

    status: HTTPStatus
    text: str
    headers: Headers = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask for more than health, and what a server shows of itself.

    Args:
        token: Who gives it may; empty: no token is accepted.
        certificate: File of the server's certificate; empty: it serves without TLS.
        key: File of that one's key.
        client_ca: File of the authorities whose clients may; empty: there are none.
    """

    token: str = field(default="", repr=False)
    certificate: str = ""
    key: str = ""
    client_ca: str = ""

    def refusal(self, peer: str, headers: Headers, *, certified: bool) -> Refusal | None:
        """Why a request for more than health is refused; None if it is not.

        Args:
            peer: The IP address that it comes from.
            headers: The request's.
            certified: Whether the client has shown a certificate of one of the authorities.
        """
        if certified or (self.token and self._has_token(headers.get("authorization", ""))):
            return None
        if self.token:
            text = "give the token (setting http_token), as a bearer token or as the password"
            return Refusal(HTTPStatus.UNAUTHORIZED, text, _CHALLENGE)
        if self.client_ca:
            text = "give a client certificate of one of the authorities in http_client_ca"
            return Refusal(HTTPStatus.FORBIDDEN, text)
        if _is_loopback(peer) and not any(name in headers for name in _PROXIED):
            return _foreign(headers.get("host", ""))
        text = (
            "other machines may ask for /healthz and /readyz alone: set http_token, or "
            "http_certificate and http_client_ca, to say who may see more"
        )
        return Refusal(HTTPStatus.FORBIDDEN, text)

    def context(self) -> ssl.SSLContext | None:
        """TLS as it is to be served; None: without.

        Raises:
            SettingsError: A file can't be used.
        """
        if not self.certificate:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_OPTIONAL  # those who check health have none
        except OSError as error:
            raise SettingsError(
                f"http_certificate, http_key or http_client_ca can't be used: {error}; each is a "
                "file in PEM format that this user can read"
            ) from error
        return context

    def _has_token(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self.token.encode())


def origin(peer: str) -> str:
    """What distinguishes those who ask: an address, of IPv6 the network."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return peer
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _V6_NETWORK), strict=False))


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _is_loopback(peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _foreign(host: str) -> Refusal | None:
    """A page from elsewhere may have its name lead here, so that a browser lets it read."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost" or name.endswith(".localhost"):
        return None
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        text = "ask by the address or as localhost; for other names set http_token"
        return Refusal(HTTPStatus.MISDIRECTED_REQUEST, text)
    return None
