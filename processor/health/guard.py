"""What stands before all that a node serves: limits, who may ask, and headers that browsers heed.

An ASGI application around another one. Owns no socket.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from processor.health.access import HEALTH, Access, Refusal, origin

LONGEST_PATH: Final = 2048
"""Bytes, with the query."""

MOST_BYTES: Final = 64 * 1024
"""Of a request's body."""

QUERY_BYTES: Final = 2**20
"""The same of a question to stores, from those who may ask."""

REQUESTS: Final = 50
"""A second, from one address; as many at once."""

QUERIES: Final = 5000
"""The same, of stores, from those who may."""

QUERIED: Final = ("/stores", "/slots/")
"""What their paths begin with."""

_REMEMBERED: Final = 1024
"""Addresses whose requests are counted."""

_POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets pass what may.

    Args:
        app: What answers.
        access: Who may ask for more than health.
        clock: Seconds of any clock that only goes forward.
    """

    def __init__(
        self, app: ASGIApp, access: Access, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._access = access
        self._pace = Pace(clock)
        self._queries = Pace(clock, QUERIES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        app = self._app if refusal is None else _response(refusal)
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers, peer = Headers(scope=scope), str((scope["client"] or ("",))[0])
        certified = scope["state"].get("certified", False)
        refusal = self._access.refusal(peer, headers, certified=certified)
        is_query = scope["path"].startswith(QUERIED) and refusal is None
        most = QUERY_BYTES if is_query else MOST_BYTES
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_PATH:
            return _closing(HTTPStatus.REQUEST_URI_TOO_LONG, f"{LONGEST_PATH} bytes at most")
        if "transfer-encoding" in headers or _length(headers) > most:
            text = f"a body has {most} bytes at most, and says how many"
            return _closing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)
        pace = self._queries if is_query else self._pace
        if not pace.admits(origin(peer)):
            text = f"{pace.most} requests a second at most"
            return _closing(HTTPStatus.TOO_MANY_REQUESTS, text, **{"Retry-After": "1"})
        return None if scope["path"] in HEALTH else refusal


class Pace:
    """How many requests come from where: as many at once as in a second, which fill up again.

    Args:
        clock: Seconds of any clock that only goes forward.
        most: In a second.
    """

    def __init__(self, clock: Callable[[], float], most: int = REQUESTS) -> None:
        self._clock = clock
        self.most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admits(self, origin: str) -> bool:
        """Whether one more may come."""
        now = self._clock()
        left, at = self._left.pop(origin, (float(self.most), now))
        left = min(self.most, left + (now - at) * self.most)
        admitted = left >= 1
        self._left[origin] = (left - admitted, now)
        while len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return admitted


def plain(status: HTTPStatus, text: str, headers: Any = None) -> PlainTextResponse:
    """A line of text."""
    return PlainTextResponse(f"{text}\n", status, headers=headers)


def _response(refusal: Refusal) -> PlainTextResponse:
    return plain(refusal.status, refusal.text, dict(refusal.headers))


def _closing(status: HTTPStatus, text: str, **headers: str) -> Refusal:
    return Refusal(status, text, {"Connection": "close", **headers})


def _length(headers: Headers) -> int:
    given = headers.get("content-length", "0")
    return int(given) if given.isdecimal() else QUERY_BYTES + 1
