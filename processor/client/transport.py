"""HTTP to a node: connections that are kept, with and without asyncio.

Knows nothing of stores. h11 speaks the protocol; every request may be made again, as none changes
anything.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import h11

from processor.errors import StoreUnavailable, UsageError

_CHUNK: Final = 2**16
_LARGEST: Final = 64 * 2**20
"""Bytes of an answer."""

_AWAY: Final = 0.5
"""Seconds after which a node that can't be reached may be there again."""


class Request(NamedTuple):
    """What is sent."""

    method: str
    target: str
    body: bytes = b""
    kind: str = "application/json"


class Response(NamedTuple):
    """What comes back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Address:
    """A node, and what it is shown.

    Args:
        url: Its `http://host:port`, or https.
        token: The setting `http_token`.
        ca: File of the authorities (PEM) that sign nodes' certificates; empty: the system's.
        certificate: File of a client certificate (PEM).
        key: File of that one's key.
        headers: Others that each request has.
    """

    url: str
    token: str = field(default="", repr=False)
    ca: str = ""
    certificate: str = ""
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"{self.url!r} is no node: write http://host:port, or https://host:port"
            )

    @property
    def host(self) -> str:
        """Its name or IP address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Its TCP port."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def context(self) -> ssl.SSLContext | None:
        """TLS as the node serves it; None: it is plain.

        Raises:
            UsageError: A file can't be used.
        """
        if not self.url.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except OSError as error:
            raise UsageError(f"the files for TLS to {self.url} can't be used: {error}") from error
        return context

    def away(self, error: object) -> StoreUnavailable:
        """What to raise where the node does not answer."""
        text = f"the node at {self.url} does not answer ({error}): see whether it runs"
        return StoreUnavailable(text, "unreachable", _AWAY)


class _Exchange:
    """HTTP on one connection."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._http = h11.Connection(h11.CLIENT)
        self._response: h11.Response | None = None
        self._body = bytearray()

    def begin(self, request: Request) -> bytes:
        """The bytes to be sent."""
        headers = {
            "Host": urlsplit(self._address.url).netloc,
            "Content-Length": str(len(request.body)),
            "Content-Type": request.kind,
            "Accept": request.kind,
            **self._address.headers,
        }
        if self._address.token:
            headers["Authorization"] = f"Bearer {self._address.token}"
        self._response = None
        self._body.clear()
        made = h11.Request(
            method=request.method, target=request.target, headers=list(headers.items())
        )
        parts = [self._http.send(made)]
        if request.body:
            parts.append(self._http.send(h11.Data(data=request.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    def take(self, data: bytes) -> Response | None:
        """The answer, once it is whole.

        Raises:
            ConnectionError: It ends early, or is no HTTP.
        """
        try:
            self._http.receive_data(data)
            while True:
                event: Any = self._http.next_event()
                if event is h11.NEED_DATA:
                    return None
                if isinstance(event, h11.Response):
                    self._response = event
                elif isinstance(event, h11.Data):
                    self._body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    raise ConnectionError("it closed the connection")
                if len(self._body) > _LARGEST:
                    raise ConnectionError("its answer is too long")
        except h11.ProtocolError as error:
            raise ConnectionError(f"it speaks no HTTP: {error}") from error
        assert self._response is not None
        headers = {name.decode(): value.decode() for name, value in self._response.headers}
        return Response(self._response.status_code, headers, bytes(self._body))

    def again(self) -> bool:
        """Whether the connection takes another request."""
        try:
            self._http.start_next_cycle()
        except h11.ProtocolError:
            return False
        return True


class Transport:
    """Connections to one node, for any threads.

    Args:
        address: The node.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._tls = address.context()
        self._idle: list[tuple[socket.socket, _Exchange]] = []
        self._lock = Lock()

    def send(self, request: Request) -> Response:
        """Asks the node.

        Raises:
            StoreUnavailable: It does not answer.
        """
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                return self._send(*kept, request)
            except OSError:  # it may have been closed meanwhile
                pass
        try:
            return self._send(self._connected(), _Exchange(self.address), request)
        except OSError as error:
            raise self.address.away(error) from error

    def close(self) -> None:
        """Ends all connections."""
        with self._lock:
            for connection, _ in self._idle:
                connection.close()
            self._idle.clear()

    def _connected(self) -> socket.socket:
        place = self.address.host, self.address.port
        made = socket.create_connection(place, self._timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return made
        return self._tls.wrap_socket(made, server_hostname=self.address.host)

    def _send(self, connection: socket.socket, exchange: _Exchange, request: Request) -> Response:
        try:
            connection.sendall(exchange.begin(request))
            while (response := exchange.take(connection.recv(_CHUNK))) is None:
                pass
        except BaseException:
            connection.close()
            raise
        if exchange.again():
            with self._lock:
                self._idle.append((connection, exchange))
        else:
            connection.close()
        return response


class AsyncTransport:
    """Connections to one node, for one event loop.

    Args:
        address: The node.
        timeout: Seconds that an answer may take.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        self._tls = address.context()
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, _Exchange]] = []

    async def send(self, request: Request) -> Response:
        """Asks the node.

        Raises:
            StoreUnavailable: It does not answer.
        """
        try:
            async with asyncio.timeout(self._timeout):
                if self._idle:
                    try:
                        return await self._send(*self._idle.pop(), request)
                    except OSError:  # it may have been closed meanwhile
                        pass
                address = self.address
                streams = await asyncio.open_connection(address.host, address.port, ssl=self._tls)
                return await self._send(*streams, _Exchange(address), request)
        except OSError as error:  # TimeoutError is one
            raise self.address.away(error or "in time") from error

    async def close(self) -> None:
        """Ends all connections."""
        for _, writer, _ in self._idle:
            writer.close()
        self._idle.clear()

    async def _send(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        exchange: _Exchange,
        request: Request,
    ) -> Response:
        try:
            writer.write(exchange.begin(request))
            while (response := exchange.take(await reader.read(_CHUNK))) is None:
                pass
        except BaseException:
            writer.close()
            raise
        if exchange.again():
            self._idle.append((reader, writer, exchange))
        else:
            writer.close()
        return response
