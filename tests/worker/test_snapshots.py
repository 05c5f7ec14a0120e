"""Snapshots of real stores in a folder and in S3, and stores restored from them; without Kafka."""

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import msgspec
import pytest

from processor import Topology
from processor.errors import StateError
from processor.node.node import worker_spec
from processor.records import Offset, Partition, TopicPartition
from processor.settings import Settings
from processor.state.snapshot import Manifest, Wanted, encoded
from processor.state.store import Store
from processor.storage.archive import Archive, archives
from processor.storage.bucket import Bucket
from processor.topology.plan import Layout, StoreId, plan
from processor.worker.channel import Channel, Log, parse
from processor.worker.downloads import Downloads
from processor.worker.snapshots import Snapshots, _Round
from processor.worker.stores import StoreOpener, meta_of
from tests.storage.storage import SECRET, s3

HERE = "0a"
STORE = StoreId("totals", Partition(2))
FACTS = Wanted({}, HERE, Offset(0), Offset(1000), 86_400_000)


def layout() -> Layout:
    topology = Topology("orders")
    topology.stream("in", value=int).group_by_key().count(name="totals").to("out")
    return Layout(plan(topology), {"in": 4})


LAYOUT = layout()
((SPEC,),) = (part.stores for part in LAYOUT.plan.subtopologies)


class Machine:
    """A worker's stores on a disk of its own, with what takes and uses snapshots."""

    def __init__(self, url: str, folder: Path, kept: int = 3) -> None:
        settings = Settings(
            state_dir=folder, snapshot_url=url, snapshot_interval="1h", snapshots_kept=kept
        )
        spec = worker_spec("none.py", LAYOUT, settings, 0)
        read, self._write = os.pipe()
        self._log = os.fdopen(read, "rb", 0)
        os.set_blocking(read, False)
        channel = Channel(self._write, 0)
        self.archive = Archive(Bucket(url), "orders", STORE)
        self.stores = StoreOpener(spec, channel)
        assert settings.snapshots is not None
        # It is not started: the test says when there is something to be looked at.
        self._snapshots = Snapshots(
            settings.snapshots, lambda _topic: HERE, LAYOUT, self.stores, list, channel
        )
        self._downloads = Downloads(url, "orders", self.stores, channel)

    def write(self, position: int, count: int = 1000) -> Store:
        """Writes so many keys that no other position has, and brings the store to the position."""
        store = self.stores.stores.get(STORE) or self.stores.make(SPEC, STORE)
        store.write(
            {b"%d-%d" % (position, key): b"value" for key in range(count)}, Offset(position)
        )
        return store

    def snapshot(self, *, restarted: bool = False) -> _Round:
        """Looks as the thread does when a store is due; what came of it."""
        looked = _Round()
        self._snapshots._due[STORE] = 0.0 if restarted else 1.0
        self._snapshots._look(STORE, SPEC, self.archive, looked)
        return looked

    def restore(self, wanted: Wanted = FACTS) -> Store | None:
        """Downloads the store; None if it was not to be had."""
        changelog = TopicPartition("changelog", STORE.partition)
        meta = wanted.meta or meta_of(SPEC)
        self._downloads.start(changelog, STORE, SPEC, wanted._replace(meta=meta))
        while not self._downloads.finished():
            assert self._downloads.status() is not None
            self._downloads.wait(60)
        assert self._downloads.is_idle
        return self.stores.find(SPEC, STORE, Offset(0), Offset(1000), lambda: 86_400_000)

    def logged(self) -> list[Log]:
        """What was logged since it was last asked."""
        lines = (self._log.read() or b"").splitlines()
        return [each for each in map(parse, lines) if isinstance(each, Log)]

    def refusals(self) -> list[str]:
        return [str(each.fields["cause"]) for each in self.logged() if "not used" in each.event]

    def close(self) -> None:
        self._downloads.close()
        self.stores.close_all()
        os.close(self._write)
        self._log.close()


@pytest.fixture(scope="module")
def s3_url() -> Generator[str]:
    with s3() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, s3_url: str) -> str:
    name = "".join(filter(str.isalnum, request.node.name))
    return str(tmp_path / "storage") if request.param == "folder" else f"{s3_url}/{name}"


@pytest.fixture
def machine(url: str, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []
    numbers = itertools.count()

    def make(**options: int) -> Machine:
        made.append(Machine(url, tmp_path / f"disk-{next(numbers)}", **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def contents(store: Store | None) -> tuple[int, list[tuple[bytes, bytes]]]:
    assert store is not None
    return store.position, list(store.scan())


def test_a_store_comes_back_as_it_was(machine: Callable[..., Machine]) -> None:
    one, other = machine(), machine()
    began = time.time()
    store = one.write(10)
    one.snapshot()
    expected = contents(store)
    one.write(20)  # after the snapshot
    assert contents(other.restore()) == expected
    (line,) = other.logged()
    assert (line.event, line.fields["position"]) == ("snapshot restored", 10)
    (listed,) = one.archive.manifests()
    found = one.archive.read(listed.name)
    assert listed.name == found.name == f"{10:020}-{HERE}.json"
    assert (found.meta, found.changelog) == (meta_of(SPEC), "orders-totals-changelog")
    assert began - 0.01 <= found.time / 1000 <= time.time()
    assert archives(Bucket(one.archive._bucket.url), "orders")[0].read(listed.name) == found


def test_only_what_is_new_is_uploaded(machine: Callable[..., Machine]) -> None:
    one = machine()
    one.write(10, 50_000)
    first = one.snapshot()
    one.write(20, 10)
    second = one.snapshot()
    assert first.bytes > 10 * second.bytes > 0
    assert second.files < first.files
    assert one.snapshot().stores == 0, "nothing has changed"
    assert len(one.archive.manifests()) == 2


def test_the_newest_are_kept(machine: Callable[..., Machine]) -> None:
    one = machine(kept=2)
    for position in (10, 20, 30, 40):
        one.write(position)
        one.snapshot()
    positions = [one.archive.read(each.name).position for each in one.archive.manifests()]
    assert positions == [30, 40]


def test_who_was_replaced_adds_nothing(machine: Callable[..., Machine]) -> None:
    old, new = machine(), machine()
    old.write(10)
    new.write(10)
    new.write(20)
    new.snapshot()
    assert old.snapshot().stores == 0
    (listed,) = old.archive.manifests()
    assert old.archive.read(listed.name).position == 20


def test_a_restart_takes_no_more_of_them(machine: Callable[..., Machine]) -> None:
    one = machine()
    one.write(10)
    assert one.snapshot(restarted=True).stores == 1
    one.write(20)
    assert one.snapshot(restarted=True).stores == 0
    assert one.snapshot().stores == 1


def test_a_store_that_is_closed_or_empty_gets_none(machine: Callable[..., Machine]) -> None:
    one = machine()
    one.stores.make(SPEC, STORE)
    assert one.snapshot().stores == 0
    one.write(10)
    one.stores.close(STORE)
    assert one.snapshot().stores == 0
    store = one.write(20)
    store.close()
    with pytest.raises(StateError, match="open the store again"):
        one.snapshot()
    assert one.archive.manifests() == []


def _newest(machine: Machine) -> Manifest:
    return machine.archive.read(max(machine.archive.manifests()).name)


def _own_file(machine: Machine) -> str:
    """A file of the newest snapshot that no other has."""
    names = [each.name for each in machine.archive.manifests()]
    *others, last = ({each.sha256 for each in machine.archive.read(name).files} for name in names)
    return min(last.difference(*others))


def _damage(machine: Machine, content: Callable[[bytes], bytes]) -> None:
    path = f"orders/totals/2/files/{_own_file(machine)}"
    bucket = machine.archive._bucket
    bucket.write(path, content(bucket.read(path)))


def _remove_file(machine: Machine) -> None:
    machine.archive._bucket.remove([f"orders/totals/2/files/{_own_file(machine)}"])


def _rewrite(machine: Machine, content: Callable[[Manifest], bytes]) -> None:
    made = _newest(machine)
    path = f"orders/totals/2/manifests/{made.name}"
    machine.archive._bucket.write(path, content(made))


DAMAGES: dict[str, tuple[Callable[[Machine], None], str]] = {
    "garbled file": (lambda m: _damage(m, lambda b: bytes([b[0] ^ 1]) + b[1:]), "another hash"),
    "truncated file": (lambda m: _damage(m, lambda b: b[:-1]), "another hash"),
    "missing file": (_remove_file, "not found"),
    "garbled manifest": (lambda m: _rewrite(m, lambda made: encoded(made)[:50]), "no manifest"),
    "newer format": (lambda _: None, "reads"),
    "wrong position": (
        lambda m: _rewrite(m, lambda made: encoded(msgspec.structs.replace(made, position=7))),
        "it is at 20, and not at 7",
    ),
    "incomplete": (
        lambda m: _rewrite(
            m, lambda made: encoded(msgspec.structs.replace(made, files=made.files[:1]))
        ),
        "no complete store",
    ),
    "a file outside": (
        lambda m: _rewrite(m, lambda made: encoded(made).replace(b"CURRENT", b"../CURRENT")),
        "the name",
    ),
}
DAMAGES["newer format"] = (
    lambda m: _rewrite(m, lambda made: encoded(msgspec.structs.replace(made, format=9))),
    "reads",
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_an_older_snapshot_taken(
    machine: Callable[..., Machine], damage: str
) -> None:
    one, other = machine(), machine()
    store = one.write(10)
    one.snapshot()
    expected = contents(store)
    one.write(20)
    one.snapshot()
    do, cause = DAMAGES[damage]
    do(one)
    assert contents(other.restore()) == expected
    (refusal,) = other.refusals()
    assert cause in refusal


def test_what_serves_nobody_leaves_the_store_to_its_changelog(
    machine: Callable[..., Machine],
) -> None:
    one, other = machine(), machine()
    one.write(10)
    one.snapshot()
    assert other.restore(FACTS._replace(first=Offset(11))) is None
    assert other.restore(FACTS._replace(end=Offset(9))) is None
    assert other.restore(FACTS._replace(changelog_id="0b")) is None
    assert other.refusals() == []
    assert other.restore(FACTS._replace(retention=0)) is None
    assert "older than the deletions" in other.refusals()[0]
    with pytest.raises(StateError, match="do not fit the topology: value is"):
        other.restore(FACTS._replace(meta={**meta_of(SPEC), "value": "another"}))
    assert other.restore() is not None


def test_storage_that_fails_leaves_the_store_to_its_changelog(s3_url: str, tmp_path: Path) -> None:
    machine = Machine(f"{s3_url}/failing", tmp_path)
    machine._downloads._prompt = Bucket("s3://never-made/prefix", patient=False)
    assert machine.restore() is None
    (refusal,) = machine.refusals()
    assert "never-made" in refusal
    assert SECRET not in refusal
    machine.close()


def test_a_damaged_file_that_is_removed_is_uploaded_again(machine: Callable[..., Machine]) -> None:
    one, other = machine(), machine()
    one.write(10)
    one.snapshot()
    _damage(one, lambda content: content[::-1])
    made = _newest(one)
    bad = [each for each in made.files if one.archive.damage(each) is not None]
    assert [one.archive.damage(each) for each in bad] == ["its content has another hash"]
    one.archive.discard(bad[0])
    assert one.archive.damage(bad[0]) == "it is missing"
    assert [each.sha256 for each in one.archive.missing(made.files)] == [bad[0].sha256]
    expected = contents(one.write(20))
    one.snapshot()
    assert contents(other.restore()) == expected
