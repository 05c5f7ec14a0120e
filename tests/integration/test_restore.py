"""State comes back: from a changelog in whatever condition, to a disk in whatever condition."""

import random
import shutil
import time
from collections.abc import Callable

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin._listoffsets import OffsetSpec

from tests import ledger
from tests.integration.conftest import App
from tests.suites import long

pytestmark = pytest.mark.kafka

KEYS = 40
BY_TABLE = "topology.stream(IN).group_by_key().count(name='counts').to(OUT)"


class Counting:
    """An application that counts, and what it has to come to."""

    def __init__(self, app: App, partitions: int = 2, **settings: str) -> None:
        self.app = app
        self.changelog = f"{app.name}-counts-changelog"
        self.state = app.folder / "state" / app.name
        self.counts: dict[str, bytes] = {}
        self._settings = settings
        app.define(BY_TABLE)
        app.topics("in", "out", partitions=partitions)
        self._partitions = partitions

    def feed(self, rounds: int = 1, keys: int = KEYS) -> None:
        """Writes every key that often."""
        self.app.write(
            *((n % self._partitions, f"k{n}", "1") for _ in range(rounds) for n in range(keys))
        )
        for n in range(keys):
            self.counts[f"k{n}"] = b"%d" % (int(self.counts.get(f"k{n}", b"0")) + rounds)

    def run(self, event: str = "") -> None:
        """Processes the input; everything must be right, and the log show the event."""
        node = self.app.run(**self._settings)
        assert self.app.latest() == self.counts
        logged = [line for line in node.logged if line["event"] == event]
        assert logged or not event, node.output
        for line in logged[:1]:
            print(line)

    def run_and_put_back(self) -> None:
        """Processes the input, then has the disk as it was before."""
        kept = self.app.folder / "kept"
        shutil.copytree(self.state, kept)
        self.run()
        self.wipe()
        shutil.copytree(kept, self.state)

    def wipe(self) -> None:
        """Loses the disk."""
        shutil.rmtree(self.state)

    def foreign(self, transactional_id: str) -> Producer:
        """Another writer's producer, with a record in an open transaction on the changelog.

        Nothing here can wait for the timeout of that transaction.
        """
        producer = Producer(
            {
                "bootstrap.servers": self.app.kafka,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": 600_000,
            }
        )
        producer.init_transactions(30)
        producer.begin_transaction()
        for partition in range(2):
            ledger.produce(producer, self.changelog, partition, "k0", b"\0" * 16)
        producer.flush(30)
        return producer


@pytest.fixture
def counting(strict_kafka: str, make_app: Callable[[str], App]) -> Counting:
    """An application that has counted something already."""
    made = Counting(make_app(strict_kafka))
    made.feed(3)
    made.run()
    made.feed()
    return made


def test_from_a_compacted_changelog(counting: Counting) -> None:
    config = {"segment.ms": "50", "min.cleanable.dirty.ratio": "0.01", "max.compaction.lag.ms": "1"}
    ledger.configure(counting.app.kafka, counting.changelog, config)
    kafka, topic = counting.app.kafka, counting.changelog
    deadline = time.monotonic() + 120
    runs = 1
    while len(ledger.read(kafka, topic)) >= runs * KEYS:
        assert time.monotonic() < deadline, "nothing is compacted"
        counting.run()
        counting.feed()
        runs += 1
        time.sleep(0.2)
    counting.wipe()
    counting.run()
    state = ledger.state_of(ledger.read(kafka, topic))
    contents = ledger.check_store(
        counting.state / "counts", ledger.offsets(kafka, topic), ledger.read(kafka, topic)
    )
    assert contents == state


def test_behind_an_aborted_transaction(counting: Counting) -> None:
    counting.foreign(f"{counting.app.name}-somebody").abort_transaction(30)
    counting.run()
    # The changelog ends in markers and aborted records alone.
    counting.foreign(f"{counting.app.name}-somebody").abort_transaction(30)
    counting.wipe()
    counting.feed()
    counting.run()


def test_behind_its_own_dead_writer(counting: Counting) -> None:
    dead = counting.foreign(f"{counting.app.name}-00")
    counting.wipe()
    counting.run()
    del dead


def test_behind_a_foreign_open_transaction(counting: Counting) -> None:
    writer = counting.foreign(f"{counting.app.name}-somebody")
    counting.wipe()
    with counting.app.start("--until-end", "--no-show") as node:
        counting.app.await_log(node, "restore waits")
        writer.abort_transaction(30)
        assert node.wait() == 0, node.output
    assert counting.app.latest() == counting.counts


def test_position_out_of_range(counting: Counting) -> None:
    """Records are gone that the store has not seen: it may not go on as if there had been none."""
    counting.run_and_put_back()
    ends = ledger.offsets(counting.app.kafka, counting.changelog)
    ledger.delete_before(
        counting.app.kafka,
        counting.changelog,
        {partition: end - KEYS // 2 - 1 for partition, end in ends.items()},
    )
    counting.feed()
    before = ledger.store(counting.state / "counts" / "0")
    node = counting.app.run(expect=5)
    assert "records that it has not seen were deleted" in node.output
    assert ledger.store(counting.state / "counts" / "0") == before
    counting.wipe()
    assert "the state is not complete" in counting.app.run(expect=5).output


@pytest.mark.parametrize("days", [2, *long(-2)])
def test_a_disk_that_was_away_for_days(counting: Counting, days: float) -> None:
    """Meanwhile the changelog may have forgotten what was deleted.

    So it may where a store is from the future: a clock was set ahead, and back.
    """
    counting.run_and_put_back()
    for partition in range(2):
        ledger.age(counting.state / "counts" / str(partition), days=days)
    counting.feed()
    counting.run("store is rebuilt")


def test_a_quiet_store_is_not_rebuilt_for_its_age(counting: Counting) -> None:
    for partition in range(2):
        ledger.age(counting.state / "counts" / str(partition), days=2)
    node = counting.app.run()
    assert counting.app.latest() == counting.counts
    assert not [line for line in node.logged if line["event"] == "store is rebuilt"]


def truncate(counting: Counting, chance: random.Random) -> None:
    """Deletes all records of the changelog, or some of each partition, as a tool can."""
    ends = ledger.offsets(counting.app.kafka, counting.changelog)
    firsts = ledger.offsets(counting.app.kafka, counting.changelog, OffsetSpec.earliest())
    share = chance.choice([1.0, chance.uniform(0.1, 1)])
    before = {each: first + round((ends[each] - first) * share) for each, first in firsts.items()}
    ledger.delete_before(counting.app.kafka, counting.changelog, before)


def test_a_truncated_changelog_is_made_whole_by_a_complete_store(
    counting: Counting, chance: random.Random
) -> None:
    counting.run()
    truncate(counting, chance)
    counting.feed(chance.randint(1, 4))
    counting.run("changelog is made whole")
    # Once is enough; and now it is whole for a machine without the store, too.
    counting.wipe()
    counting.feed()
    node = counting.app.run()
    assert counting.app.latest() == counting.counts
    assert "made whole" not in node.output
    truncate(counting, chance)
    counting.feed()
    counting.run("changelog is made whole")


def test_state_that_is_gone_is_refused(counting: Counting, chance: random.Random) -> None:
    counting.run()
    kept = counting.app.folder / "kept"
    shutil.move(counting.state, kept)
    truncate(counting, chance)
    counting.feed(chance.randint(1, 4))
    node = counting.app.run(expect=5)
    assert "the state is not complete" in node.output
    assert f"kproc reset {counting.app.file} --store counts" in node.output
    # As the text says: the complete store fixes it.
    counting.wipe()
    shutil.move(kept, counting.state)
    counting.run("changelog is made whole")


def test_a_changelog_that_was_recreated(counting: Counting) -> None:
    partitions = len(ledger.offsets(counting.app.kafka, counting.changelog))
    ledger.delete(counting.app.kafka, [counting.changelog])
    recreated = {counting.changelog: partitions}
    ledger.create(counting.app.kafka, recreated, **{"cleanup.policy": "compact"})
    for wiped in (False, True):
        if wiped:
            counting.wipe()
        node = counting.app.run(expect=5)
        assert f"{counting.changelog} was deleted and created again" in node.output
    # As the text says: without the state, it starts over.
    counting.app.kproc("reset", "--store", "counts", "--yes")
    counting.counts = {}
    counting.feed()
    counting.app.run()
    assert {counting.app.latest()[f"k{n}"] for n in range(KEYS)} == {b"2"}


@pytest.mark.parametrize("damage", ["garbage", *long("truncated", "missing")])
def test_a_damaged_store_is_rebuilt(counting: Counting, damage: str) -> None:
    for path in counting.state.rglob("*.sst"):
        if damage == "missing":
            path.unlink()
        elif damage == "truncated":
            path.write_bytes(path.read_bytes()[:-20])
        else:
            # The table still opens; a block of it can't be read.
            data = bytearray(path.read_bytes())
            data[:200] = bytes(200)
            path.write_bytes(data)
    counting.run("store is rebuilt")


BY_HAND = """
COUNTS = key_value("counts", key=str, value=int)

def count(record, context):
    counts = context.store(COUNTS)
    counts.put(record.key, (counts.get(record.key) or 0) + 1)
    yield Record(record.key, counts.get(record.key), record.timestamp)

topology.stream(IN).process(count, stores=[COUNTS], name="counting").to(OUT)
"""


@pytest.mark.parametrize("body", [BY_TABLE, BY_HAND], ids=["table", "process"])
def test_damage_that_a_read_comes_upon(app: App, body: str) -> None:
    counting = Counting(app)
    app.define(body)
    counting.feed(1, 8_000)
    counting.run()
    for path in counting.state.rglob("*.sst"):
        data = bytearray(path.read_bytes())
        middle = len(data) // 2
        data[middle - 5000 : middle] = bytes(5000)
        path.write_bytes(data)
    counting.feed(1, 8_000)
    counting.run("store is rebuilt")


@pytest.mark.parametrize(
    "settings", [{"state_store": "memory"}, {"guarantee": "at-least-once"}], ids=str
)
def test_without_a_disk_or_a_transaction(app: App, settings: dict[str, str]) -> None:
    counting = Counting(app, **settings)
    counting.feed(2)
    counting.run()
    if "state_store" in settings:
        assert not counting.state.exists()
    else:
        counting.wipe()
    counting.feed()
    counting.run()


def test_at_least_once_loses_nothing_when_killed(app: App) -> None:
    counting = Counting(app, guarantee="at-least-once")
    written = 0
    with app.start(guarantee="at-least-once") as node:
        for _ in range(4):
            counting.feed(20)
            written += 20
            time.sleep(0.3)
            for worker in node.workers:
                worker.kill()
        counting.feed(1)
        deadline = time.monotonic() + 120
        while any(int(count) > int(app.latest().get(key) or 0) for key, count in _items(counting)):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert node.stop() == 0
    assert set(app.latest()) == set(counting.counts)


def _items(counting: Counting) -> list[tuple[str, bytes]]:
    return list(counting.counts.items())


def test_killed_during_a_bulk_restore(app: App) -> None:
    keys = 120_000  # more than BULK_RECORDS
    counting = Counting(app, partitions=1)
    counting.feed(1, keys)
    counting.run()
    counting.wipe()
    for pause in (0, 0.05, 0.1):
        with app.start() as node:
            # A fast machine may have restored everything in the round before.
            app.await_log(node, "worker restoring", "worker running")
            time.sleep(pause)
            node.kill()
    counting.feed(1, 100)
    counting.run()
    ends = ledger.offsets(app.kafka, counting.changelog)
    rows = ledger.read(app.kafka, counting.changelog)
    contents = ledger.check_store(counting.state / "counts", ends, rows)
    assert sum(map(len, contents.values())) == keys
