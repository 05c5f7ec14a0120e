"""Which snapshots serve, which are kept: tables, and what is stored."""

import msgspec
import pytest

from processor.errors import SnapshotError, StateError
from processor.records import Offset
from processor.state.snapshot import (
    FORMAT,
    GRACE,
    File,
    Manifest,
    Stored,
    Wanted,
    candidates,
    decoded,
    encoded,
    missing,
    newest,
    refusal,
    superseded,
    unreferenced,
)

HERE, OTHER = "0a", "0b"
HOUR = 60 * 60 * 1000
NOW = 100 * HOUR
META = {"key": "text", "value": "int"}


def name(position: int, changelog: str = HERE) -> str:
    return f"{position:020}-{changelog}.json"


def manifest(position: int = 7, **changes: object) -> Manifest:
    made = Manifest(
        format=FORMAT,
        application="orders",
        store="totals",
        partition=1,
        meta=META,
        changelog="orders-totals-changelog",
        changelog_id=HERE,
        position=Offset(position),
        time=NOW,
        files=(File("000001.sst", 10, "aa"), File("CURRENT", 5, "bb")),
    )
    return msgspec.structs.replace(made, **changes)


def span(first: int = 0, end: int = 100, retention: int = 24 * HOUR) -> Wanted:
    return Wanted(META, HERE, Offset(first), Offset(end), retention)


def test_a_manifest_reads_as_it_was_written() -> None:
    made = manifest()
    assert decoded(encoded(made)) == made
    assert made.name == name(7)
    assert made.size == 15


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no manifest"),
        (b"[]", "no manifest"),
        (b'{"format": 2}', "no manifest"),
        (encoded(manifest())[:-20], "no manifest"),
        (b'{"format": 3, "shape": "another"}', "format 3, and this kproc reads 2"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, text: str) -> None:
    with pytest.raises(SnapshotError, match=text):
        decoded(content)


@pytest.mark.parametrize(
    ("names", "first", "end", "expected"),
    [
        ([], 0, 100, []),
        ([name(5), name(30), name(9)], 0, 100, [name(30), name(9), name(5)]),
        ([name(5), name(30)], 6, 100, [name(30)]),
        ([name(5), name(30)], 5, 29, [name(5)]),
        ([name(100), name(101)], 0, 100, [name(100)]),
        ([name(5, OTHER), name(4)], 0, 100, [name(4)]),
        (["5-0a.json.tmp", "nonsense", "-0a.json", name(3)], 0, 100, [name(3)]),
    ],
)
def test_the_newest_position_within_the_changelog_comes_first(
    names: list[str], first: int, end: int, expected: list[str]
) -> None:
    assert candidates(names, span(first, end)) == expected


@pytest.mark.parametrize(
    ("age", "end", "retention", "refused"),
    [
        (0, 100, 24 * HOUR, False),
        (21 * HOUR, 100, 24 * HOUR, False),
        (22 * HOUR, 100, 24 * HOUR, True),
        (1, 100, 0, True),
        # Nothing follows but one record or marker: the last of a topic is never compacted.
        (99 * HOUR, 8, 24 * HOUR, False),
        (99 * HOUR, 7, 24 * HOUR, False),
        (99 * HOUR, 9, 24 * HOUR, True),
    ],
)
def test_what_may_have_missed_a_deletion_is_refused(
    age: int, end: int, retention: int, *, refused: bool
) -> None:
    cause = refusal(manifest(7, time=NOW - age), span(0, end, retention), NOW)
    assert (cause is not None) == refused


def test_other_serdes_are_refused_with_the_way_out() -> None:
    other = manifest(meta={"key": "text", "value": "float"})
    with pytest.raises(StateError) as caught:
        refusal(other, span(), NOW)
    assert str(caught.value) == (
        "the snapshots of the store totals do not fit the topology: value is 'float' and should be "
        "'int'. What is in the changelog orders-totals-changelog does not fit either. Go back to "
        "the topology that wrote it, or give the store another name to start over"
    )


def stored(*names: str, age: int = 0, size: int = 10) -> list[Stored]:
    return [Stored(each, size, NOW - age) for each in names]


@pytest.mark.parametrize(
    ("manifests", "kept", "expected"),
    [
        ([], 3, []),
        (stored(name(1), name(2)), 2, []),
        (stored(name(1), name(10), name(9)), 2, [name(1)]),
        (stored(name(1), name(10), name(9)), 1, [name(9), name(1)]),
        # Of a changelog that is gone, or that this worker does not know yet.
        (stored(name(50, OTHER)) + stored(name(1)), 1, []),
        (stored(name(50, OTHER), age=2 * GRACE) + stored(name(1)), 1, [name(50, OTHER)]),
        (stored("notes.txt", age=2 * GRACE), 1, []),
    ],
)
def test_so_many_snapshots_are_kept(
    manifests: list[Stored], kept: int, expected: list[str]
) -> None:
    assert superseded(manifests, HERE, kept, NOW) == expected


def test_files_that_nobody_refers_to_are_removed_after_a_while() -> None:
    files = stored("new") + stored("old", "used", age=GRACE + 1) + stored("due", age=GRACE)
    assert unreferenced(files, {"used"}, NOW) == ["old"]


def test_what_has_to_be_uploaded() -> None:
    files = [File(f"{number}.sst", 10, each) for number, each in enumerate("abcdea")]
    present = [
        *stored("a", age=9 * GRACE),  # referenced: nobody removes it
        *stored("b", age=9 * GRACE),  # somebody may be about to remove it
        *stored("c", age=GRACE // 2 - 1),
        *stored("d", size=9),  # of another length: not whole
    ]
    assert [each.sha256 for each in missing(files, present, {"a"}, NOW)] == ["b", "d", "e"]
    assert [each.name for each in missing(files, [], (), NOW)] == [
        *("5.sst", "1.sst", "2.sst", "3.sst", "4.sst")
    ]


def test_the_newest_position_of_a_changelog() -> None:
    assert newest([name(5), name(40, OTHER), name(30), "nonsense"], HERE) == 30
    assert newest([name(40, OTHER)], HERE) == 0
