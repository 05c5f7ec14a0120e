"""Snapshots: what one is, which of them a store can be restored from, which are to be kept.

Owns the format of manifests and the rules about them, as pure functions: no storage, no clock.

A snapshot is the files of one store of one task, at one position of its changelog, and a manifest
that lists them. In a folder of the store's own there are

    manifests/<position>-<changelog id>.json
    files/<sha256>

A file is stored once, however many snapshots have it. Whoever has an equal manifest has an equal
store: the state at a position is given by the changelog. So writers need not agree on anything; the
newest position is the best, and what a late writer adds is only older.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from processor.errors import SnapshotError, StateError
from processor.records import Offset
from processor.state.store import outlived

FORMAT: Final = 2
"""Counted up when manifests change, or what a store's files hold."""

GRACE: Final = 60 * 60 * 1000
"""Milliseconds for which nothing is removed that may belong to a snapshot still being written."""


class File(msgspec.Struct, frozen=True):
    """One file of a store: its name there, its size in bytes, and what it is stored by."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """A snapshot, as its manifest describes it.

    `meta` is what the store's bytes mean. `time`, in ms, is when the store was still at the end
    of what was committed: no later change of it is older.
    """

    format: int
    application: str
    store: str
    partition: int
    meta: dict[str, str]
    changelog: str
    changelog_id: str
    position: Offset
    time: int
    files: tuple[File, ...]

    @property
    def name(self) -> str:
        """Its object's name; sorted by name, manifests are sorted by position."""
        return f"{self.position:020}-{self.changelog_id}.json"

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class Stored(NamedTuple):
    """An object as storage lists it: its last name, bytes, and when it was written, in ms."""

    name: str
    size: int
    modified: int


class Wanted(NamedTuple):
    """What a store without local state could be restored from.

    Attributes:
        meta: What its bytes must mean.
        changelog_id: Its changelog's; one that was deleted and created again has another.
        first: The first offset that is still in the changelog.
        end: The offset after its last.
        retention: Milliseconds for which the changelog keeps tombstones, at least.
    """

    meta: Mapping[str, str]
    changelog_id: str
    first: Offset
    end: Offset
    retention: int


def encoded(manifest: Manifest) -> bytes:
    """The manifest as it is stored."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decoded(content: bytes) -> Manifest:
    """The manifest that was stored.

    Raises:
        SnapshotError: It is not a manifest, or of a newer format.
    """
    try:
        version = msgspec.json.decode(content, type=_Version).format
        if version != FORMAT:
            raise SnapshotError(f"it has the format {version}, and this kproc reads {FORMAT}")
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"it is no manifest ({error})") from error


class _Version(msgspec.Struct):
    format: int


def candidates(names: Iterable[str], wanted: Wanted) -> list[str]:
    """The manifests, by name, that may serve to restore the store; the newest position first."""
    positions = _positions(names, wanted.changelog_id)
    fitting = [name for name in positions if wanted.first <= positions[name] <= wanted.end]
    return sorted(fitting, key=lambda name: positions[name], reverse=True)


def refusal(manifest: Manifest, wanted: Wanted, now: int) -> str | None:
    """Why the store can't be restored from a candidate, None if it can; `now` in ms.

    Raises:
        StateError: The changelog has been written with other serdes than the topology's.
    """
    if manifest.meta != wanted.meta:
        differences = ", ".join(
            f"{name} is {manifest.meta.get(name)!r} and should be {wanted.meta.get(name)!r}"
            for name in dict.fromkeys([*manifest.meta, *wanted.meta])
            if manifest.meta.get(name) != wanted.meta.get(name)
        )
        raise StateError(
            f"the snapshots of the store {manifest.store} do not fit the topology: {differences}. "
            f"What is in the changelog {manifest.changelog} does not fit either. Go back to the "
            "topology that wrote it, or give the store another name to start over"
        )
    if outlived(wanted.end - manifest.position, now - manifest.time, wanted.retention):
        return "it is older than the deletions that the changelog is sure to still know of"
    return None


def superseded(manifests: Iterable[Stored], changelog_id: str, kept: int, now: int) -> list[str]:
    """The manifests that are not to be kept, by name.

    Those of the changelog are kept by position; those of another, which was deleted or is not known
    here yet, for a while.
    """
    modified = {each.name: each.modified for each in manifests if _parsed(each.name)}
    mine = _positions(modified, changelog_id)
    by_position = sorted(mine, key=lambda name: mine[name], reverse=True)
    others = modified.keys() - mine.keys()
    return by_position[kept:] + sorted(name for name in others if modified[name] < now - GRACE)


def unreferenced(files: Iterable[Stored], referenced: Collection[str], now: int) -> list[str]:
    """The files that no manifest refers to and no snapshot in the making will."""
    return [
        each.name for each in files if each.name not in referenced and each.modified < now - GRACE
    ]


def missing(
    files: Sequence[File], present: Iterable[Stored], referenced: Collection[str], now: int
) -> list[File]:
    """The files that have to be uploaded for a snapshot, each once.

    What is there is relied upon if a manifest protects it or its age does, for long enough.
    """
    there = {
        each.name: each.size
        for each in present
        if each.name in referenced or each.modified > now - GRACE // 2
    }
    wanted = {file.sha256: file for file in files}
    return [file for file in wanted.values() if there.get(file.sha256) != file.size]


def newest(names: Iterable[str], changelog_id: str) -> Offset:
    """The position of the newest snapshot of this changelog; 0 if there is none."""
    return max(_positions(names, changelog_id).values(), default=Offset(0))


def _positions(names: Iterable[str], changelog_id: str) -> dict[str, Offset]:
    """The manifests of this changelog with their positions."""
    known = {name: _parsed(name) for name in names}
    return {name: found[0] for name, found in known.items() if found and found[1] == changelog_id}


def _parsed(name: str) -> tuple[Offset, str] | None:
    """The position and the changelog's id in a manifest's name; None if it is no such name."""
    position, _, rest = name.partition("-")
    if not position.isdigit() or not rest.endswith(".json"):
        return None
    return Offset(int(position)), rest.removesuffix(".json")
