"""Lines to the node's workers: questions go out as they come, answers come back in any order."""

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from itertools import count
from typing import Final

from processor.errors import StoreUnavailable
from processor.queries.asks import Answer, Ask, Frames, decode_answer, encode

PATIENCE: Final = 3.0
"""Seconds that a worker has for an answer: whoever waits for it has more."""

_MOST: Final = 1000
"""Questions that wait for one worker."""

_SOON: Final = 0.5


class Line(asyncio.Protocol):
    """To one worker process."""

    def __init__(self) -> None:
        self.is_closed = False
        self._transport: asyncio.WriteTransport | None = None
        self._frames = Frames()
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, ask: Ask) -> Answer:
        """What the worker answers.

        Raises:
            StoreUnavailable: It does not, in time.
        """
        if self.is_closed or self._transport is None:
            raise _gone()
        if len(self._waiting) >= _MOST:
            raise StoreUnavailable("too much is asked at once", "busy", _SOON)
        number = next(self._numbers) & 0xFFFFFFFF
        answered = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        self._transport.write(Frames.framed(number, encode(ask)))
        try:
            async with asyncio.timeout(PATIENCE):
                return decode_answer(await answered)
        except TimeoutError:
            text = "the worker that has the store does not answer: it is suspended, or busy"
            raise StoreUnavailable(text, "slow", _SOON) from None
        finally:
            self._waiting.pop(number, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the line into use."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Gives the answers to those who wait for them."""
        for number, answer in self._frames.take(data):
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker has ended."""
        del exc
        self.is_closed = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_gone())


class Lines:
    """To all workers of the node; used by one event loop."""

    def __init__(self) -> None:
        self._lines: dict[int, tuple[socket.socket, Line]] = {}

    async def ask(self, sockets: Mapping[int, socket.socket], slot: int, ask: Ask) -> Answer:
        """What a slot's worker answers.

        Args:
            sockets: The workers' by slot, as they are now.
            slot: Which.
            ask: What.

        Raises:
            StoreUnavailable: It is not there, or does not answer.
        """
        if (there := sockets.get(slot)) is None:
            raise _gone()
        known = self._lines.get(slot)
        if known is None or known[0] is not there or known[1].is_closed:
            known = there, await _connected(there)
            self._lines[slot] = known
        return await known[1].ask(ask)


async def _connected(there: socket.socket) -> Line:
    loop = asyncio.get_running_loop()
    try:
        own = there.dup()  # the node closes the other one whenever the worker has ended
    except OSError:
        raise _gone() from None
    own.settimeout(0)
    with contextlib.suppress(OSError):
        _, line = await loop.create_connection(Line, sock=own)
        return line
    own.close()
    raise _gone()


def _gone() -> StoreUnavailable:
    return StoreUnavailable("the worker that had the store has ended", "moving", _SOON)
