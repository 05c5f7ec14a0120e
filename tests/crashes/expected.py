"""What the job's output and stores should be: worked out record by record, with nothing of kproc.

And the input: seeded random events, some of them written in transactions that are aborted.
"""

import json
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from confluent_kafka import Producer

from tests import ledger
from tests.ledger import Row

PARTITIONS = 3
KEYS = 6
GROUPS = 4
WITHIN = 10_000
EVERY = 5_000
OUTPUTS = ("plain", "counts", "running", "distinct", "totals", "regrouped", "groupsums")
STORES = ("counts", "running", "seen", "sums", "groupsums")


class Event(NamedTuple):
    """One input record; its key belongs to its partition."""

    partition: int
    key: str
    id: str
    number: int
    group: str
    timestamp: int
    sequence: int

    def value(self) -> dict[str, Any]:
        names = ("id", "number", "group", "partition", "sequence")
        return {name: getattr(self, name) for name in names}


class Feed:
    """Writes seeded random events, and remembers those that count, in order."""

    def __init__(self, kafka: str, topic: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._topic = topic
        self._times = [1_700_000_000_000] * PARTITIONS
        self._made = 0
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "transactional.id": f"{topic}-feed",
                "linger.ms": 1,
                "log_level": 0,
            }
        )
        self._producer.init_transactions(60)
        self.events: list[Event] = []
        self.refused: list[str] = []

    def write(self, count: int) -> None:
        """Writes that many events which count, and some that don't."""
        left = count
        while left > 0:
            size = min(left, self._random.randint(1, 40))
            if self._random.random() < 0.2:
                self._transaction(size, commit=False)
            self._transaction(size, commit=True)
            left -= size

    def write_refused(self, size: int) -> None:
        """Writes an event whose id of so many digits is too long for an output.

        It is to be left out of everything: its id alone is remembered, in `refused`.
        """
        chance = self._random
        partition, digits = chance.randrange(PARTITIONS), f"{chance.getrandbits(size * 4):x}"
        time = self._times[partition]
        event = Event(partition, f"key-{partition}-0", digits, 3, "group-0", time, 0)
        self._write([event], commit=True)
        self.refused.append(digits)

    def _transaction(self, size: int, *, commit: bool) -> None:
        events = [self._event() for _ in range(size)]
        self._write(events, commit=commit)
        if commit:
            self.events += events

    def _write(self, events: Sequence[Event], *, commit: bool) -> None:
        self._producer.begin_transaction()
        for event in events:
            ledger.produce(
                self._producer,
                self._topic,
                event.partition,
                event.key,
                json.dumps(event.value()),
                event.timestamp,
            )
        if commit:
            self._producer.commit_transaction(60)
        else:
            self._producer.flush(60)
            self._producer.abort_transaction(60)

    def _event(self) -> Event:
        chance = self._random
        partition = chance.randrange(PARTITIONS)
        self._times[partition] += chance.choice((0, 10, 100, 500, 2000))
        self._made += 1
        return Event(
            partition,
            f"key-{partition}-{chance.randrange(KEYS)}",
            f"id-{chance.randrange(8)}",
            chance.randrange(1000),
            f"group-{chance.randrange(GROUPS)}",
            self._times[partition] - chance.choice((0, 0, 0, 50, 3000)),
            self._made,
        )


class Expected:
    """The job's results for these events."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.plain: dict[str, list[Any]] = defaultdict(list)
        self.running: dict[str, list[Any]] = defaultdict(list)
        self.distinct: dict[str, list[Any]] = defaultdict(list)
        self.totals: dict[str, list[Any]] = defaultdict(list)
        self.counts: dict[str, int] = defaultdict(int)
        self.sums: dict[str, int] = defaultdict(int)
        self.passed: dict[tuple[str, str], int] = {}
        self.times = [-1] * PARTITIONS
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        self._punctuate(event)
        key, number, time = event.key, event.number, event.timestamp
        if number % 3 == 0:
            self.plain[key].append(({"event": event.id, "number": number}, time))
        self.counts[key] += 1
        self.sums[key] += number
        total = {"count": self.counts[key], "total": self.sums[key]}
        latest = max([time, *(before for _, before in self.running[key][-1:])])
        self.running[key].append((total, latest))
        now = self.times[event.partition]
        if now - self.passed.get((key, event.id), -WITHIN) >= WITHIN:
            self.passed[key, event.id] = now
            self.distinct[key].append((event.value(), time))

    def _punctuate(self, event: Event) -> None:
        since = self.times[event.partition]
        now = self.times[event.partition] = max(since, event.timestamp)
        due = now // EVERY * EVERY
        if 0 <= since < due <= now:
            mine = f"key-{event.partition}-"
            for key in sorted(self.sums):
                if key.startswith(mine):
                    self.totals[key].append(({"due": due, "total": self.sums[key]}, due))

    def check_outputs(self, outputs: dict[str, list[Row]]) -> None:
        """Checks everything committed: nothing lost, nothing doubled, order kept per key."""
        for name in ("plain", "running", "distinct", "totals"):
            wanted = {key: values for key, values in getattr(self, name).items() if values}
            ledger.check_sequences(_stamped(outputs[name]), wanted, name)
        counted = {
            key: [value for value, _ in pairs] for key, pairs in _stamped(outputs["counts"]).items()
        }
        assert {key: values[-1] for key, values in counted.items()} == self.counts
        for key, values in counted.items():
            assert values == sorted(set(values)), f"counts of {key} do not rise: {values}"
        self._check_regrouped(outputs["regrouped"], outputs["groupsums"])

    def _check_regrouped(self, rows: list[Row], sums: list[Row]) -> None:
        """A group's events come from all partitions; those of one partition are in order."""
        wanted: dict[str, list[Any]] = defaultdict(list)
        for event in self.events:
            wanted[f"{event.group} of {event.partition}"].append((event.value(), event.timestamp))
        found: dict[str, list[Any]] = defaultdict(list)
        running: dict[str, list[Any]] = defaultdict(list)
        for row in rows:
            group, value = (row.key or b"").decode(), json.loads(row.value or b"")
            found[f"{group} of {value['partition']}"].append((value, row.timestamp))
            last, time = running[group][-1] if running[group] else ({"count": 0, "total": 0}, 0)
            total = {"count": last["count"] + 1, "total": last["total"] + value["number"]}
            running[group].append((total, max(time, row.timestamp)))
        ledger.check_sequences(found, wanted, "regrouped")
        ledger.check_sequences(_stamped(sums), running, "groupsums")

    def check_stores(self, stores: dict[str, dict[str, Any]]) -> None:
        """Checks decoded stores; what deduplicate has forgotten must not count any more."""
        assert {key: value[-1] for key, value in stores["counts"].items()} == self.counts
        last = {key: values[-1][0] for key, values in self.running.items()}
        assert {key: value[-1] for key, value in stores["running"].items()} == last
        assert stores["sums"] == self.sums
        assert sum(value[-1]["count"] for value in stores["groupsums"].values()) == len(self.events)
        self._check_seen(stores["seen"])

    def _check_seen(self, seen: dict[Any, int]) -> None:
        """What can still drop something must be there; what can't may be."""
        found = {_identity(key): time for key, time in seen.items()}
        assert found.items() <= self.passed.items()
        for (key, identity), time in self.passed.items():
            now = self.times[int(key.split("-")[1])]
            assert now - time >= WITHIN or (key, identity) in found, f"{key} {identity} forgotten"


def _identity(key: bytes) -> tuple[str, str]:
    """A key of deduplicate's store: the length of the record's key, that key, the identity."""
    end = 4 + int.from_bytes(key[:4], "big")
    return key[4:end].decode(), json.loads(key[end:])


def _stamped(rows: list[Row]) -> dict[str, list[tuple[Any, int]]]:
    """The values of each key with their timestamps, in order."""
    found: dict[str, list[tuple[Any, int]]] = defaultdict(list)
    for row in rows:
        value = json.loads(row.value or b"null")
        found[(row.key or b"").decode()].append((value, row.timestamp))
    return found
