"""Clients that the extension knows, and whether there can be any."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, cast

from confluent_kafka import Consumer, Producer, cimpl

from processor.errors import SettingsError
from processor.records import Headers, Offset, Timestamp

C = TypeVar("C", Consumer, Producer)

_PLUGINS = "plugin.library.paths"

_Column: TypeAlias = list[bytes | None]
_HeadersColumn: TypeAlias = list[Headers] | None
_Epoch: TypeAlias = tuple[int, int, int]

FetchedRun: TypeAlias = tuple[
    str,
    int,
    _Column,
    _Column,
    list[Timestamp],
    list[Offset],
    _HeadersColumn,
    list[_Epoch],
]
"""Records of one topic and partition: keys, values, timestamps, offsets, headers if there are any,
and stretches of one leader epoch, each with its first and last offset."""

FetchedError: TypeAlias = tuple[int, str, str | None, int, int]
"""An error's or end's code and text, and the topic, partition and offset that it is about."""


class Handle(Protocol):
    """A client's way around its calls for each record; one thread at a time uses it."""

    def take(self, topic: str, partition: int, /) -> None:
        """Has what comes of this partition go to `fetch` alone, until its consumer stops it.

        A consumer that is assigned partitions may stop them first a moment later. So they are taken
        before each `fetch`.

        Raises:
            RuntimeError: The client is closed.
        """

    def fetch(
        self, limit: int, timeout: int, /
    ) -> tuple[Sequence[FetchedRun], Sequence[FetchedError]]:
        """What has come of the partitions that were taken; no callback of the client is called.

        Args:
            limit: Messages at most.
            timeout: Milliseconds to wait until there are so many.

        Raises:
            RuntimeError: The client is closed, or another thread waits in this call.
        """
        ...

    def produce(
        self,
        topic: str,
        partition: int,
        keys: _Column,
        values: _Column,
        timestamps: list[Timestamp],
        headers: _HeadersColumn,
        row: int,
        /,
    ) -> tuple[int, int]:
        """Hands over the records from a row on; no delivery report of them is made.

        Args:
            topic: Where they go.
            partition: Likewise; -1: as their keys say.
            keys: The records, column by column.
            values: Likewise.
            timestamps: Likewise.
            headers: Likewise.
            row: The first.

        Returns:
            The first row that was not taken, and why not, as librdkafka's code; 0: all were.

        Raises:
            TypeError: A column holds something else; the rows before it were taken.
            RuntimeError: The client is closed.
        """
        ...

    def failure(self) -> tuple[int, str] | None:
        """The first record that did not arrive since this was last asked: why, and its topic.

        The error is librdkafka's code. Of a producer with transactions there is none: those fail.
        """

    def release(self) -> None:
        """Gives back all that is held of the client; to be called before a consumer is closed.

        Raises:
            RuntimeError: Another thread waits in `fetch`.
        """


class _Plane(Protocol):
    """The extension, `plane.c`."""

    __file__: str

    def bind(self, library: str, /) -> None:
        """Looks up librdkafka's functions in a library that is loaded and depends on it.

        Raises:
            OSError: One is not there.
        """

    def attach(self, owner: object, /) -> Handle:
        """The handle of the client that this thread made last; it keeps its owner alive.

        Raises:
            RuntimeError: None was made with this plugin.
        """
        ...


@cache
def missing() -> str:
    """Why there is no native plane here; empty: there is one."""
    try:
        plane = _plane()
    except ModuleNotFoundError:
        return "kproc's extension is not built: that takes a C compiler when kproc is installed"
    except ImportError as error:
        return f"kproc's extension can't be loaded ({error})"
    if ";" in plane.__file__:
        return f"librdkafka can't be given a path with a semicolon ({plane.__file__})"
    try:
        plane.bind(str(cimpl.__file__))
    except OSError as error:
        return f"it does not go with this build of confluent_kafka ({error})"
    return ""


def uses_native(setting: Literal["auto", "on", "off"]) -> bool:
    """Whether workers use the native plane.

    Raises:
        SettingsError: It is asked for, and missing.
    """
    if setting == "on" and missing():
        raise SettingsError(f'native = "on", but {missing()}; native = "auto" does without it')
    return not unused(setting)


def unused(setting: Literal["auto", "on", "off"]) -> str:
    """Why workers do not use the native plane; empty: they do."""
    return "it is turned off" if setting == "off" else missing()


def made(kind: type[C], config: Mapping[str, Any]) -> tuple[C, Handle]:
    """A client, and its handle.

    Args:
        kind: The client's class.
        config: Settings of librdkafka.

    Raises:
        RuntimeError: The plane is `missing`.
    """
    if why := missing():
        raise RuntimeError(why)
    plane, make = _plane(), cast("Any", kind)
    plugins = ";".join(filter(None, (config.get(_PLUGINS), plane.__file__)))
    client = make({**config, _PLUGINS: plugins})
    return client, plane.attach(client)


def _plane() -> _Plane:
    return cast("_Plane", import_module("processor.native.plane"))
