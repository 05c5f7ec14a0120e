"""Progress: how far the stream time of tasks is, carried through the application's own topics.

A task that writes a repartition topic also says there how far its stream time is: each record that
is behind it carries that time in a header, and at each checkpoint a *progress marker* goes to every
partition. A marker promises that none of the task's later records there counts for an earlier time.
Owns what headers, markers and committed notes look like; knows nothing of who waits for them.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

import msgspec

from processor.operators.base import NO_TIME
from processor.records import Batch, Headers, Offset, Partition, RawBatch, Timestamp
from processor.topology.plan import TaskId

TIME = "kproc.time"
"""The header of a record with the stream time of its task, if that is not its own timestamp."""

MARKER = "kproc.progress"
"""The header of a progress marker, which is no record."""

_RESERVED = frozenset({TIME, MARKER})
_NAME = itemgetter(0)


class Progress(NamedTuple):
    """How far a task is.

    Attributes:
        time: Its stream time, as those that read what it writes see it.
        offsets: The next offsets of its sources, in their order.
    """

    time: Timestamp
    offsets: tuple[Offset, ...]


class Reached(NamedTuple):
    """How far records are worked on in the order of the times that they count for.

    Attributes:
        time: All that count for an earlier one are.
        offset: Of those that count for just that time, the ones with lower offsets are.
    """

    time: Timestamp
    offset: Offset


BEGINNING = Reached(NO_TIME, Offset(0))


@dataclass(frozen=True, slots=True)
class Note:
    """What is known of a partition that other tasks write, beyond the offset that is committed.

    Attributes:
        seen: The offset up to which its records were read.
        done: How far they are processed.
        reported: The progress of the tasks that write it.
    """

    seen: Offset
    done: Reached
    reported: Mapping[TaskId, Progress]


def stamped(records: RawBatch, times: Sequence[Timestamp]) -> RawBatch:
    """Records with the stream times that they count for.

    Args:
        records: As they are to be written.
        times: The stream time of their task at each.
    """
    headers = records.headers
    if headers is not None:
        headers = [_without_reserved(each) for each in headers]
    elif list(times) == list(records.timestamps):
        return records
    added = [
        () if time == own else ((TIME, time.to_bytes(8, "big", signed=True)),)
        for time, own in zip(times, records.timestamps, strict=True)
    ]
    if headers is not None:
        added = [each + time for each, time in zip(headers, added, strict=True)]
    return Batch(records.keys, records.values, records.timestamps, records.offsets, added)


def split(
    records: RawBatch, layout: int
) -> tuple[RawBatch, Sequence[Timestamp], list[Mapping[TaskId, Progress]]]:
    """What was read of a partition: its records, the times they count for, and what markers say.

    Args:
        records: As they were read.
        layout: The fingerprint of the topology; what another one has reported says nothing.
    """
    if records.headers is None:
        return records, records.timestamps, []
    with_headers = list(compress(range(len(records)), records.headers))
    markers = [row for row in with_headers if records.headers[row][-1][0] == MARKER]
    reported = [_read_marker(records.headers[row][-1][1], layout) for row in markers]
    if markers:
        records = records.without(markers)
    if len(markers) == len(with_headers):
        return _with_headers(records, None), records.timestamps, reported
    headers = records.headers or ()
    times = [
        Timestamp(int.from_bytes(each[-1][1] or b"", "big", signed=True))
        if each and each[-1][0] == TIME
        else own
        for each, own in zip(headers, records.timestamps, strict=True)
    ]
    left = [each[:-1] if each and each[-1][0] == TIME else each for each in headers]
    return _with_headers(records, left if any(left) else None), times, reported


def without_progress(records: RawBatch) -> RawBatch:
    """The records that a topic was given, without what was added of progress."""
    return split(records, -1)[0]


def marker(reported: Mapping[TaskId, Progress], layout: int, now: Timestamp) -> RawBatch:
    """One progress marker.

    Args:
        reported: The progress of tasks that write the topic.
        layout: The fingerprint of the topology.
        now: The clock on the wall; the marker's timestamp.
    """
    value = msgspec.msgpack.encode((layout, _rows(reported, 0)))
    return Batch([None], [None], [max(Timestamp(0), now)], [Offset(0)], [((MARKER, value),)])


def note_text(note: Note, stream_time: Timestamp, offset: Offset, layout: int) -> str:
    """A note as it is committed with an offset; short, as brokers refuse more than 4096 bytes."""
    rows = _rows(note.reported, stream_time)
    done = note.done.time - stream_time, note.done.offset - offset
    data = (layout, note.seen - offset, done, rows)
    return b64encode(msgspec.msgpack.encode(data)).decode()


def read_note(text: str, stream_time: Timestamp, offset: Offset, layout: int) -> Note | None:
    """The note that was committed with an offset; None: another topology's, or none."""
    if not text:
        return None
    known, seen, done, rows = msgspec.msgpack.decode(b64decode(text), type=_NoteData)
    if known != layout:
        return None
    reported = _reported(rows, stream_time)
    reached = Reached(Timestamp(stream_time + done[0]), Offset(offset + done[1]))
    return Note(Offset(offset + seen), reached, reported)


_Row = tuple[int, int, int, tuple[Offset, ...]]
_MarkerData = tuple[int, list[_Row]]
_NoteData = tuple[int, int, tuple[int, int], list[_Row]]


def _rows(reported: Mapping[TaskId, Progress], since: int) -> list[_Row]:
    return [
        (task.subtopology, task.partition, progress.time - since, progress.offsets)
        for task, progress in reported.items()
    ]


def _reported(rows: Iterable[_Row], since: int) -> dict[TaskId, Progress]:
    return {
        TaskId(part, Partition(number)): Progress(Timestamp(since + time), offsets)
        for part, number, time, offsets in rows
    }


def _read_marker(data: bytes | None, layout: int) -> Mapping[TaskId, Progress]:
    known, rows = msgspec.msgpack.decode(data or b"", type=_MarkerData)
    return _reported(rows, 0) if known == layout else {}


def _without_reserved(headers: Headers) -> Headers:
    """The user's own headers: what he reads may hold what looks like ours."""
    if _RESERVED.isdisjoint(map(_NAME, headers)):
        return headers
    return tuple(each for each in headers if each[0] not in _RESERVED)


def _with_headers(records: RawBatch, headers: Sequence[Headers] | None) -> RawBatch:
    return Batch(records.keys, records.values, records.timestamps, records.offsets, headers)
