"""Queries: a thread of the worker that answers what its node passes on, beside the loop.

Reads what is committed. Takes no more than a share of a processor, whatever comes, as it has to
share the interpreter with the loop.
"""

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Final

import msgspec

from processor.errors import StoreUnavailable
from processor.queries.answering import Answerer, Open, Place
from processor.queries.asks import Answer, Ask, Frames, Refusal, decode_ask, encode
from processor.queries.catalogue import ANY_PARTITION, Queryable, catalogue
from processor.records import Partition
from processor.state.committed import Committed
from processor.topology.plan import Layout, StoreId, TaskId
from processor.topology.slots import slot_partitions
from processor.worker.spec import WorkerSpec

if TYPE_CHECKING:
    from processor.runtime.task import Task
    from processor.worker.global_tables import GlobalTables
    from processor.worker.opener import TaskOpener
    from processor.worker.stores import StoreOpener

SHARE: Final = 0.1
"""Of a processor, at most."""

_RECEIVED: Final = 2**18
"""Bytes of questions that are answered at once."""

_SWITCH: Final = 0.001
"""Seconds for which the loop keeps the interpreter from this thread, once it is asked: by default
five times as long, two or three times in each answer."""

_SOON: Final = 0.5
"""Seconds after which a store that is not open yet may be."""


class OpenStores:
    """What of a slot's stores can be read now, by any thread.

    Args:
        layout: The plan with its partition counts.
        tasks: Those at work, as they are now.
        stores: All that are open.
        opener: Has those of tasks that are not at work follow their changelogs.
        tables: The global ones.
    """

    def __init__(
        self,
        layout: Layout,
        tasks: "Callable[[], Mapping[TaskId, Task]]",
        stores: "StoreOpener",
        opener: "TaskOpener",
        tables: "GlobalTables",
    ) -> None:
        parts = layout.plan.subtopologies
        self._parts = {spec.name: part.number for part in parts for spec in part.stores}
        self._tasks = tasks
        self._stores = stores
        self._opener = opener
        self._tables = tables

    def open(self, place: Place) -> Open:
        """What is committed in a partition of a store.

        Raises:
            StoreUnavailable: It is not to be read here, or not now.
        """
        if place.store not in self._parts:
            return self._global(place.store)
        partition = Partition(place.partition)
        task = self._tasks().get(TaskId(self._parts[place.store], partition))
        if task is not None:
            return Open(Committed.of(task.overlays[place.store]))
        followed = self._stores.stores.get(StoreId(place.store, partition))
        behind = self._opener.lag
        if not place.stale or followed is None or behind is None:
            doing = "not open yet" if followed is None else "being restored"
            text = f"store {place.store}, partition {partition}, is {doing} here"
            raise StoreUnavailable(text, "restoring", _SOON)
        return Open(Committed(followed), behind)

    def _global(self, store: str) -> Open:
        reader = self._tables.readers.get(store)
        if reader is None or not self._tables.is_ready():
            raise StoreUnavailable(f"{store} is being read for the first time", "restoring", _SOON)
        return Open(Committed(reader.shared.part(Partition(0))))


def answerer(spec: WorkerSpec, layout: Layout, opened: OpenStores) -> Answerer:
    """What answers for a slot."""
    stores = catalogue(layout.plan)
    own = slot_partitions(spec.slot, spec.slots, spec.partitions)
    tasks = {layout.task_of(source) for source in own}
    partitions = {name: _partitions(each, tasks) for name, each in stores.items()}
    return Answerer(stores, partitions, opened.open)


def serve(line: socket.socket, answerer: Answerer, share: float = SHARE) -> Thread:
    """Answers what comes on the line, in a thread, until it ends."""
    thread = Thread(target=_serve, args=(line, answerer, share), name="queries", daemon=True)
    thread.start()
    return thread


def _partitions(store: Queryable, tasks: set[TaskId]) -> list[int]:
    if store.part is None:
        return [ANY_PARTITION]
    number = store.part.number
    return sorted(task.partition for task in tasks if task.subtopology == number)


def _serve(line: socket.socket, answerer: Answerer, share: float) -> None:
    frames, rest = Frames(), 1 / share - 1
    with contextlib.suppress(OSError), line:
        while data := line.recv(_RECEIVED):
            began = time.thread_time()
            sys.setswitchinterval(_SWITCH)
            line.sendall(_answered(answerer, frames.take(data)))
            time.sleep((time.thread_time() - began) * rest)


def _answered(answerer: Answerer, messages: list[tuple[int, bytes]]) -> bytes:
    asks = [_ask(data) for _, data in messages]
    found = iter(answerer.answer([ask for ask in asks if not isinstance(ask, Refusal)]))
    answers: list[Answer] = [ask if isinstance(ask, Refusal) else next(found) for ask in asks]
    numbers = (number for number, _ in messages)
    return b"".join(map(Frames.framed, numbers, map(encode, answers)))


def _ask(data: bytes) -> Ask | Refusal:
    try:
        return decode_ask(data)
    except msgspec.DecodeError as error:
        return Refusal("malformed", f"not understood: {error}")
