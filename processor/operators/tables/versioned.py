"""Tables that keep their history for a while, and values as of a time (KIP-889, KIP-914).

The table's own store has the latest values. A second one has those that are no more, each with the
time from which and to before which it was the value. They lie in segments by that end: what ended
too long ago leaves a segment at a time, and the value as of a time is in its segment or a later.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import not_
from struct import Struct
from typing import Any, ClassVar, NamedTuple

from processor.operators.aggregates.by_key import Stamped, TableOperator, paired
from processor.operators.base import (
    AnyBatch,
    Context,
    Outputs,
    Timed,
    Unattributed,
    encoded_keys,
)
from processor.records import Timestamp
from processor.serdes import Serde, bytes_serde
from processor.state.keyvalue import EncodedStore, StoreSpec

_HEAD = Struct(">qqi")
_NOTHING = -1
_SEGMENTS = 4
"""Into how many segments the time is divided for which history is kept."""


class Version(NamedTuple):
    """What a key's value was from `begin` to before `end`; None: it was deleted then.

    One without length says that the key was deleted at that time and is so still.
    """

    begin: Timestamp
    end: Timestamp
    value: Any


def history_of(name: str, value: Serde[Any]) -> StoreSpec[bytes, list[Version]]:
    """The store that has the versions of a table: by segment and key, in order."""
    encode, decode = value.encode, value.decode

    def encode_all(versions: list[Version]) -> bytes:
        parts: list[bytes] = []
        for begin, end, one in versions:
            data = b"" if one is None else encode(one)
            parts += [_HEAD.pack(begin, end, _NOTHING if one is None else len(data)), data]
        return b"".join(parts)

    def decode_all(data: bytes) -> list[Version]:
        versions: list[Version] = []
        place = 0
        while place < len(data):
            begin, end, size = _HEAD.unpack_from(data, place)
            place += _HEAD.size
            one = None if size == _NOTHING else decode(data[place : place + size])
            place += max(0, size)
            versions.append(Version(begin, end, one))
        return versions

    serde = Serde(f"versions({value.name})", encode_all, decode_all, shape=value.shape)
    return StoreSpec(f"{name}-history", bytes_serde, serde)


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long history is kept, in milliseconds, and in which store."""

    store: str
    time: int

    @property
    def width(self) -> int:
        """Of a segment."""
        return max(1, self.time // _SEGMENTS)

    def segments(self, since: int, until: int) -> range:
        """The segments that have ends in that time."""
        return range(max(0, since) // self.width, until // self.width + 1)

    def as_of(
        self,
        latest: Sequence[Stamped | None],
        keys: Sequence[bytes],
        times: Sequence[Timestamp],
        context: Context,
    ) -> list[Stamped | None]:
        """What each key's value was at a time; None where there was none or nobody knows.

        Args:
            latest: The values that the keys have now.
            keys: As bytes.
            times: As of which.
            context: Of the task.
        """
        now = context.clock.end_time
        oldest = now - self.time
        rows = [
            row
            for row, (held, time) in enumerate(zip(latest, times, strict=True))
            if time >= oldest and (held is None or held[0] > time)
        ]
        last = max([now, *(held[0] for held in latest if held is not None)])
        wanted = dict.fromkeys(
            _entry(segment, keys[row])
            for row in rows
            for segment in self.segments(times[row], last)
        )
        history: EncodedStore[bytes, list[Version]] = context.stores[self.store]
        found = history.load(list(wanted))
        known = (
            held if held is not None and held[0] <= time else None
            for held, time in zip(latest, times, strict=True)
        )
        result: list[Stamped | None] = list(known)
        for row in rows:
            time = times[row]
            versions = (
                version
                for segment in self.segments(time, last)
                for version in found.get(_entry(segment, keys[row]), ())
            )
            at = next((each for each in versions if each.begin <= time < each.end), None)
            result[row] = None if at is None or at.value is None else (at.begin, at.value)
        return result


@dataclass(frozen=True)
class Versioned(TableOperator, Timed):
    """Keeps the value of each key that has the highest timestamp, and what it was before.

    A row that comes out of order changes history, and is not emitted. One from before all history
    that is kept is late, and left out.
    """

    heeds_time: ClassVar[bool] = True

    kept: Kept

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """Changes of the latest values, if all are emitted."""
        batch = self._timely(batch, context)
        store: EncodedStore[Any, Stamped] = context.stores[self.store]
        keys, batch = encoded_keys(store.spec.key, batch, context)
        distinct = list(dict.fromkeys(keys))
        before = store.load(distinct)
        histories = self._histories(keys, batch, store.load(distinct), context)
        rows = zip(keys, batch.timestamps, batch.values, strict=True)
        emitted = [histories[key].put(time, value) for key, time, value in rows]
        latest = {key: each.latest for key, each in histories.items() if each.latest is not None}
        batch = batch.select(emitted)
        values: Sequence[Any] = batch.values
        try:
            store.save([key for key in distinct if histories[key].is_changed], latest)
            _save(context.stores[self.kept.store], histories)
            if self.emit == "change" and context.wants_changes:
                values = paired(before, values, store.spec, batch)
        except Exception as error:
            raise Unattributed from error
        rows = batch.with_values(values)
        return self.ports(rows if self.emit == "change" else rows.select(()), context)

    def advance(self, context: Context) -> AnyBatch | None:
        """Drops the segments that nobody can ask for any more."""
        width = self.kept.width
        oldest = max(0, context.clock.end_time - self.kept.time) // width
        if context.resumed or oldest > max(0, context.clock.stream_time - self.kept.time) // width:
            history: EncodedStore[bytes, list[Version]] = context.stores[self.kept.store]
            for key in history.scan(b"", _entry(oldest, b"")):
                history.delete(key)

    def _timely(self, batch: AnyBatch, context: Context) -> AnyBatch:
        """The rows of which history knows; the others are noted."""
        context.judge("judged", len(batch))
        if (
            min(batch.timestamps, default=context.clock.end_time)
            >= context.clock.end_time - self.kept.time
        ):
            return batch
        nows = context.clock.times(batch)
        mask = [
            time >= now - self.kept.time for time, now in zip(batch.timestamps, nows, strict=True)
        ]
        late = batch.select(list(map(not_, mask)))
        context.judge("late", len(late))
        context.note(late, [_LATE] * len(late), "late", "skip")
        return batch.select(mask)

    def _histories(
        self,
        keys: Sequence[bytes],
        batch: AnyBatch,
        latest: Mapping[bytes, Stamped],
        context: Context,
    ) -> "dict[bytes, _History]":
        """What is known of each key since the earliest of its rows.

        What ended after the stream time before this batch, and after the latest value's time, can't
        be there yet: however much time a batch spans, no more segments are read than are kept.
        """
        first: dict[bytes, int] = {}
        for key, time in zip(keys, batch.timestamps, strict=True):
            first[key] = min(time, first.get(key, time))
        now = context.clock.stream_time
        spans = {
            key: self.kept.segments(time, max(now, latest[key][0] if key in latest else now))
            for key, time in first.items()
        }
        wanted = [_entry(segment, key) for key, span in spans.items() for segment in span]
        history: EncodedStore[bytes, list[Version]] = context.stores[self.kept.store]
        found = history.load(wanted)
        return {
            key: _History(
                self.kept.width,
                latest.get(key),
                {segment: found.get(_entry(segment, key), []) for segment in span},
            )
            for key, span in spans.items()
        }


_LATE = ValueError("the record is older than the history that the table keeps")


class _History:
    """One key's latest value, and its versions by segment."""

    def __init__(
        self, width: int, latest: Stamped | None, segments: dict[int, list[Version]]
    ) -> None:
        self.latest = latest
        self.is_changed = False
        self.segments = segments
        self.touched: set[int] = set()
        self._width = width

    def put(self, time: Timestamp, value: Any) -> bool:
        """Makes this the value from that time on; whether it is the latest."""
        if time >= self._newest():
            self._put_latest(time, value)
            return True
        held = next((each for each in self._versions() if each.begin <= time < each.end), None)
        if held is not None:
            self._remove(held)
            if held.begin < time:
                self._add(Version(held.begin, time, held.value))
        end = self._next(time) if held is None else held.end
        self._add(Version(time, end, value))
        return False

    def _put_latest(self, time: Timestamp, value: Any) -> None:
        latest = self.latest
        self.is_changed = True
        if latest is not None and latest[0] < time:
            self._add(Version(latest[0], time, latest[1]))
        elif value is None:
            self._add(Version(time, time, None))
        self.latest = None if value is None else (time, value)

    def _newest(self) -> int:
        """The time of the last change; as far as is known, where there is no value."""
        if self.latest is not None:
            return self.latest[0]
        return max((each.end for each in self._versions()), default=-1)

    def _next(self, time: Timestamp) -> Timestamp:
        """When there was a value again, or a deletion, after a time at which there was none."""
        later = [each.begin for each in self._versions() if each.begin > time]
        return min([*later, self.latest[0]] if self.latest is not None else later)

    def _versions(self) -> Iterable[Version]:
        return (each for segment in sorted(self.segments) for each in self.segments[segment])

    def _add(self, version: Version) -> None:
        segment = version.end // self._width
        self.segments[segment] = sorted(
            {each[:2]: each for each in [*self.segments.get(segment, ()), version]}.values(),
            key=lambda each: each[:2],
        )
        self.touched.add(segment)

    def _remove(self, version: Version) -> None:
        segment = version.end // self._width
        self.segments[segment].remove(version)
        self.touched.add(segment)


def _save(store: EncodedStore[bytes, list[Version]], histories: Mapping[bytes, _History]) -> None:
    changed = {
        _entry(segment, key): history.segments[segment]
        for key, history in histories.items()
        for segment in history.touched
    }
    store.save(changed, {entry: versions for entry, versions in changed.items() if versions})


def _entry(segment: int, key: bytes) -> bytes:
    return segment.to_bytes(8, "big") + key
