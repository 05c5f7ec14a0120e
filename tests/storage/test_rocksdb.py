"""What a store on disk adds to the contract in tests/state: crashes, damage, memory, threads.

Run as a program this file is the process that the crash tests kill: it writes known changes to the
store at the given path until it dies.
"""

import gc
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event, Thread

import pytest

from processor.errors import StateError, StoreAway, StoreCorrupt, StoreLocked
from processor.records import Offset
from processor.storage.rocks_options import MIB, translated
from processor.storage.rocksdb import BULK_RECORDS, RocksResources, RocksStore

Changes = dict[bytes, bytes | None]


def changes_at(position: int) -> Changes:
    """What the write from this position to the next one changes."""
    chance = random.Random(position)
    return {
        b"%03d" % chance.randrange(500): None if chance.random() < 0.2 else chance.randbytes(100)
        for _ in range(100)
    }


def write_until_killed(path: Path, *, restoring: bool) -> None:
    store = RocksStore(path, RocksResources(write_buffer_bytes=MIB, flush_seconds=0.02))
    print("ready", flush=True)
    for position in count(store.position):
        if restoring and position % 300 == 0:
            store.end_restore()
            store.begin_restore(BULK_RECORDS)
        store.write(changes_at(position), Offset(position + 1))


@pytest.fixture
def resources() -> Iterator[RocksResources]:
    shared = RocksResources()
    yield shared
    shared.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("restoring", [False, True], ids=["writing", "restoring"])
@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.long)])
def test_what_a_kill_leaves_is_the_store_at_its_position(
    path: Path, kills: int, resources: RocksResources, *, restoring: bool
) -> None:
    chance = random.Random(f"{kills} {restoring}")
    expected: dict[bytes, bytes] = {}
    replayed = 0
    for _ in range(kills):
        command = [sys.executable, __file__, str(path), str(int(restoring))]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(chance.uniform(0.01, 0.4))
            writer.send_signal(signal.SIGKILL)
        store = RocksStore(path, resources)
        assert store.position >= replayed
        for position in range(replayed, store.position):
            expected.update((k, v) for k, v in changes_at(position).items() if v is not None)
            for key in (k for k, v in changes_at(position).items() if v is None):
                expected.pop(key, None)
        replayed = store.position
        assert list(store.scan()) == sorted(expected.items())
        store.close()
    assert replayed > kills


def test_a_closed_store_opens_with_all_that_was_written(
    path: Path, resources: RocksResources
) -> None:
    store = RocksStore(path, resources)
    store.write({b"": b"1", b"\0": b"2"}, Offset(5))
    store.close()
    store = RocksStore(path, resources)
    assert (store.position, list(store.scan())) == (5, [(b"", b"1"), (b"\0", b"2")])
    store.close()


def test_the_position_outlives_compaction(path: Path, resources: RocksResources) -> None:
    store = RocksStore(path, resources)
    for step in range(6):
        store.write({b"": b"%d" % step, b"k": None}, Offset(step))
        store.flush()
    store._db.compact_range(None, None)
    store.close()
    store = RocksStore(path, resources)
    assert (store.position, list(store.scan())) == (5, [(b"", b"5")])
    store.close()


def test_the_background_flush_brings_a_quiet_store_to_disk(path: Path) -> None:
    resources = RocksResources(flush_seconds=0.01)
    store = RocksStore(path, resources)
    store.write({b"a": b"1"}, Offset(9))
    deadline = time.monotonic() + 120
    while not list(path.glob("*.sst")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    store.close()
    resources.close()
    resources.close()


def test_a_background_flush_that_comes_too_late_is_no_failure(
    path: Path, resources: RocksResources
) -> None:
    store = RocksStore(path, resources)
    store.write({b"a": b"1"}, Offset(1))
    store.close()
    store.flush_in_background()
    assert store._failure is None


def test_a_failed_background_flush_is_raised_by_the_next_calls(path: Path) -> None:
    resources = RocksResources(flush_seconds=0.01)
    store = RocksStore(path, resources)
    store.write({b"kept": b"1"}, Offset(1))
    store.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        store.write({b"lost": random.Random(1).randbytes(MIB)}, Offset(2))
        deadline = time.monotonic() + 120
        while store._failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        calls: list[Callable[[], object]] = [
            lambda: store.get_many([b"kept"]),
            lambda: store.write({}, Offset(3)),
            store.scan,
            store.flush,
            lambda: store.begin_restore(BULK_RECORDS),
            store.close,
        ]
        for call in calls:
            with pytest.raises(StateError, match="File too large"):
                call()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    reopened = RocksStore(path, resources)
    assert (reopened.position, list(reopened.scan())) == (1, [(b"kept", b"1")])
    reopened.close()
    resources.close()


def filled(path: Path, resources: RocksResources) -> None:
    chance = random.Random(1)
    store = RocksStore(path, resources)
    for position in range(2):
        keys = range(position * 20_000, position * 20_000 + 20_000)
        store.write({b"%06d" % key: chance.randbytes(100) for key in keys}, Offset(position + 1))
        store.flush()
    store.close()


def oldest_sst(path: Path) -> Path:
    return min(path.glob("*.sst"))


def garble(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "sst truncated": lambda path: os.truncate(oldest_sst(path), 1000),
    "sst emptied": lambda path: os.truncate(oldest_sst(path), 0),
    "sst missing": lambda path: oldest_sst(path).unlink(),
    "CURRENT missing": lambda path: (path / "CURRENT").unlink(),
    "CURRENT empty": lambda path: (path / "CURRENT").write_bytes(b""),
    "MANIFEST missing": lambda path: next(path.glob("MANIFEST*")).unlink(),
    "MANIFEST garbled": lambda path: next(path.glob("MANIFEST*")).write_bytes(b"garbage" * 50),
    "all missing": lambda path: [file.unlink() for file in path.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_does_not_open(
    path: Path, resources: RocksResources, damage: Callable[[Path], object]
) -> None:
    filled(path, resources)
    damage(path)
    with pytest.raises(StoreCorrupt, match="drop the store, then it is restored"):
        RocksStore(path, resources)


READS: dict[str, Callable[[RocksStore], object]] = {
    "get_many": lambda store: store.get_many([b"%06d" % key for key in range(40_000)]),
    "scan": lambda store: list(store.scan()),
    "reverse scan": lambda store: list(store.scan(reverse=True)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_a_garbled_block_is_never_read_over(
    path: Path, resources: RocksResources, read: Callable[[RocksStore], object]
) -> None:
    filled(path, resources)
    garble(oldest_sst(path))
    store = RocksStore(path, resources)
    with pytest.raises(StoreCorrupt, match="block checksum mismatch"):
        read(store)
    store.close()


def test_a_scan_that_outlives_its_store_says_so(path: Path, resources: RocksResources) -> None:
    filled(path, resources)
    store = RocksStore(path, resources)
    scan = store.scan()
    next(scan)
    store.close()
    with pytest.raises(StateError, match="closed during a scan"):
        list(scan)
    RocksStore(path, resources).close()


def test_an_abandoned_scan_leaves_nothing_behind(path: Path, resources: RocksResources) -> None:
    filled(path, resources)
    store = RocksStore(path, resources)
    next(store.scan())
    gc.collect()
    assert not store._cursors
    store.close()


def test_a_closed_store_refuses_everything(path: Path, resources: RocksResources) -> None:
    store = RocksStore(path, resources)
    store.close()
    with pytest.raises(StateError, match="open the store again"):
        store.get_many([b"a"])
    with pytest.raises(StateError, match="open the store again"):
        store.write({}, Offset(1))
    with pytest.raises(StateError, match="open the store again"):
        store.scan()
    with pytest.raises(StateError, match="open the store again"):
        store.flush()


def test_a_large_restore_through_many_memtables_loses_nothing(
    path: Path, resources: RocksResources
) -> None:
    chance = random.Random(1)
    expected: dict[bytes, bytes] = {}
    store = RocksStore(path, resources)
    store.begin_restore(BULK_RECORDS)
    for step in range(40):
        batch = {chance.randbytes(2): chance.randbytes(300) for _ in range(5000)}
        store.write(batch, Offset(step))
        expected.update(batch)
    store.end_restore()
    assert list(store.scan()) == sorted(expected.items())
    assert store.position == 39
    store.close()


def test_a_checkpoint_is_the_store_at_its_position_while_it_goes_on(
    path: Path, resources: RocksResources
) -> None:
    store = RocksStore(path, resources)
    expected: dict[bytes, bytes] = {}
    stop = Event()

    def take() -> None:
        for number in count():
            taken.append((number, store.checkpoint(path.with_name(f"copy-{number}"))))
            if stop.is_set():
                return

    taken: list[tuple[int, Offset]] = []
    taker = Thread(target=take)
    taker.start()
    written = 0
    while len(taken) < 5:
        store.write(changes_at(written), Offset(written + 1))
        written += 1
    stop.set()
    taker.join()
    position = 0
    for number, at in taken:
        for each in range(position, at):
            expected.update((k, v) for k, v in changes_at(each).items() if v is not None)
            for key in (k for k, v in changes_at(each).items() if v is None):
                expected.pop(key, None)
        position = at
        copy = RocksStore(path.with_name(f"copy-{number}"), resources)
        assert (copy.position, list(copy.scan())) == (at, sorted(expected.items()))
        copy.close()
    store.close()
    with pytest.raises(StateError, match="open the store again"):
        store.checkpoint(path.with_name("late"))


@pytest.mark.parametrize(
    ("message", "kind", "advice"),
    [
        ("IO error: No space left on device: While appending", StateError, "free some space"),
        ("IO error: While open a file: Permission denied", StateError, "let this user"),
        ("IO error: While lock file: /x/LOCK: Resource busy", StoreLocked, "another process"),
        ("Corruption: bad block", StoreCorrupt, "drop the store"),
        ("IO error: While open: Too many open files", StateError, "ulimit -n"),
        ("something never seen", StateError, "if it persists"),
    ],
)
def test_errors_say_what_to_do(message: str, kind: type[StateError], advice: str) -> None:
    error = translated(Path("/state/app/0_1/totals"), Exception(message))
    assert type(error) is kind
    assert str(error).startswith(f"store /state/app/0_1/totals: {message}; ")
    assert advice in str(error)


def test_a_mistake_of_the_caller_is_no_state_error(path: Path, resources: RocksResources) -> None:
    store = RocksStore(path, resources)
    with pytest.raises(KeyError, match="bytes"):
        store.get_many([bytearray(b"a")])  # type: ignore[list-item]
    store.close()


if __name__ == "__main__":
    write_until_killed(Path(sys.argv[1]), restoring=sys.argv[2] == "1")


def test_a_store_is_as_old_as_the_last_time_that_it_was_up_to_date(path: Path) -> None:
    now = 1000.0
    resources = RocksResources(now=lambda: now)
    store = RocksStore(path, resources)
    now = 2000.0
    store.write({b"a": b"1"}, Offset(1))
    assert store.written == 2000
    now = 3000.0
    store.begin_restore(1)
    store.write({b"b": b"1"}, Offset(2))
    store.close()
    store = RocksStore(path, resources)
    assert (store.position, store.written) == (2, 2000)
    store.begin_restore(0)
    store.end_restore()
    store.write({}, Offset(3))
    assert store.written == 3000
    store.close()
    resources.close()


def test_other_threads_peek_while_it_is_written_reopened_and_closed(
    path: Path, resources: RocksResources
) -> None:
    store = RocksStore(path, resources)
    store.write({b"%05d" % n: b"0" for n in range(3000)}, Offset(1))
    failures: list[BaseException] = []
    away = Event()

    def peek() -> None:
        try:
            while True:
                assert len(store.peek(b"", None, 5000).rows) == 3000
                first, none = store.peek_many([b"00000", b"nothing"])
                assert (first or b"").isdigit()
                assert none is None
        except StoreAway:
            away.set()
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            failures.append(error)

    threads = [Thread(target=peek) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(50):
        store.write({b"%05d" % k: b"%d" % n for k in range(0, 3000, 7)}, Offset(n + 2))
    store.close()
    for thread in threads:
        thread.join()
    assert not failures
    assert away.is_set()


def test_a_store_that_is_restored_is_away_until_the_end(
    path: Path, resources: RocksResources
) -> None:
    store = RocksStore(path, resources)
    store.begin_restore(BULK_RECORDS)
    with pytest.raises(StoreAway, match="being restored"):
        store.peek_many([b"k"])
    store.write({b"k": b"v", b"\0": b"w"}, Offset(1))
    store.end_restore()
    assert store.peek_many([b"k", b"\0"]) == [b"v", b"w"]
    assert store.peek(b"", b"z", 1) == ([(b"\0", b"w")], b"k")
    store.close()
