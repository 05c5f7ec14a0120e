"""A small HTTP server in a thread of its own, for whoever comes: many, slow or hostile.

uvicorn speaks HTTP; this owns the connections, so that there are never more than a few and none
lasts without an answer. Whoever has the most of them makes room for others. Knows nothing of what
is served.
"""

import asyncio
import socket
import ssl
from collections import OrderedDict
from threading import Event, Thread
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from processor.addresses import Address
from processor.errors import SettingsError
from processor.health.access import origin

PATIENCE: Final = 10.0
"""Seconds that a client may take for a request and its answer, and between two requests."""

MOST_CONNECTIONS: Final = 64
_HEAD_BYTES: Final = 16 * 1024
"""Of a request: its path and headers."""

_PER_SECOND: Final = 200
"""Connections that are accepted; more wait, and the system refuses those beyond the backlog."""

_BACKLOG: Final = 64


class Server:
    """Serves an ASGI application.

    Args:
        app: The application.
        address: Where to listen.
        tls: How to serve by TLS; None: without.

    Raises:
        SettingsError: The address can't be listened on.
    """

    def __init__(self, app: Any, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self._app = app
        self._tls = tls
        self._socket = _listen(address)
        self.address = Address(address.host, self._socket.getsockname()[1])
        """Where it listens."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._began = Event()
        self._thread = Thread(target=asyncio.run, args=(self._serve(),), name="http", daemon=True)
        self._thread.start()
        self._began.wait()

    def close(self) -> None:
        """Stops listening, and ends all connections."""
        assert self._loop is not None
        assert self._accepting is not None
        self._loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._accepting = asyncio.ensure_future(self._accept(_Connections(self._app, self._tls)))
        self._began.set()
        await asyncio.wait((self._accepting,))
        self._socket.close()

    async def _accept(self, connections: "_Connections") -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._socket)
            except OSError:  # the client has gone already, or the process has too many files
                pass
            else:
                connections.enter(connection, origin(str(peer[0])))
            await asyncio.sleep(1 / _PER_SECOND)


class _Connections:
    """Those that there are, the oldest first."""

    def __init__(self, app: Any, tls: ssl.SSLContext | None) -> None:
        self._config = Config(
            app,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # what clients do wrong is no news
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(PATIENCE),
            h11_max_incomplete_event_size=_HEAD_BYTES,
        )
        self._config.load()
        self._state = ServerState()
        self._tls = tls
        self._open: OrderedDict[asyncio.Task[None], str] = OrderedDict()

    def enter(self, connection: socket.socket, origin: str) -> None:
        """Serves one more, and ends another if there are too many."""
        if len(self._open) >= MOST_CONNECTIONS:
            self._make_room()
        task = asyncio.ensure_future(self._attend(connection))
        self._open[task] = origin
        task.add_done_callback(self._left)

    def _make_room(self) -> None:
        origins = list(self._open.values())
        crowd = max(origins, key=origins.count)
        oldest = next(task for task, origin in self._open.items() if origin == crowd)
        del self._open[oldest]
        oldest.cancel()

    def _left(self, task: asyncio.Task[None]) -> None:
        self._open.pop(task, None)

    async def _attend(self, connection: socket.socket) -> None:
        loop, transport = asyncio.get_running_loop(), None
        try:
            async with asyncio.timeout(PATIENCE) as deadline:
                protocol = _Protocol(self._config, self._state, deadline)
                handshake = None if self._tls is None else PATIENCE
                transport, _ = await loop.connect_accepted_socket(
                    lambda: protocol, connection, ssl=self._tls, ssl_handshake_timeout=handshake
                )
                await protocol.ended.wait()
        except (OSError, TimeoutError):  # of the handshake, or too slow
            pass
        finally:
            connection.close() if transport is None else transport.abort()


class _Protocol(H11Protocol):
    """HTTP on one connection, which says when it has ended."""

    def __init__(self, config: Config, state: ServerState, deadline: asyncio.Timeout) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        self.ended = asyncio.Event()
        self._deadline = deadline

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        # A certificate that no authority here has signed has not passed the handshake.
        self.app_state["certified"] = bool(secured is not None and secured.getpeercert())

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ended.set()

    def on_response_complete(self) -> None:
        """An answer is given: there is time for another request."""
        if not (self._deadline.expired() or self.transport.is_closing()):
            self._deadline.reschedule(self.loop.time() + PATIENCE)
        super().on_response_complete()


def _listen(address: Address) -> socket.socket:
    kind = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Said to be TCP, so that asyncio has answers sent at once.
    made = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address.host, address.port))
        made.listen(_BACKLOG)
        made.settimeout(0)
    except OSError as error:
        made.close()
        raise SettingsError(
            f"http: {address} can't be listened on ({error.strerror}): each node on a machine "
            "needs a port of its own; with port 0 it takes a free one and logs it"
        ) from error
    return made
