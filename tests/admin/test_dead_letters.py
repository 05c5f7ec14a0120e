"""Replays on a real Kafka: the records as they were, once each, whatever kills the replay."""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from processor.admin.dead_letters import DeadLetters, replay, survey
from processor.errors import KafkaError, TopicMismatch
from processor.runtime.dead_letters import Wanted
from tests import forks, ledger

pytestmark = pytest.mark.kafka
SEED = int(os.environ.get("KPROC_SEED", "5"))


class Fixture:
    """An input, and dead letters of it; `app` has no other topics."""

    def __init__(self, kafka: str, app: str) -> None:
        self.kafka, self.app = kafka, app
        self.input, self.topic = f"{app}-in", f"{app}-dead-letters"
        ledger.create(kafka, {self.input: 2, f"{app}-other": 1})
        ledger.create(kafka, {self.topic: 2}, **{"retention.ms": "-1"})

    @property
    def client(self) -> dict[str, Any]:
        return {"bootstrap.servers": self.kafka}

    def add(self, count: int, step: str = "check", topic: str | None = None, **more: str) -> None:
        ledger.write(self.kafka, self.topic, self.letters(count, step, topic or self.input, more))

    def letters(self, count: int, step: str, topic: str, more: dict[str, str]) -> Iterator[Any]:
        for number in range(count):
            fields = {
                "topic": topic,
                "partition": str(number % 2),
                "offset": str(number),
                "timestamp": str(1_000_000 + number),
                "step": step,
                "reason": "function",
                "error": "ValueError",
                **more,
            }
            headers = [("own", b"1"), *((f"kproc.{k}", v.encode()) for k, v in fields.items())]
            yield number % 2, f"k{number}", f"{step}-{number}", 5, headers

    def rows(self, name: str = "in") -> list[ledger.Row]:
        return ledger.read(self.kafka, f"{self.app}-{name}")

    def values(self, name: str = "in") -> list[str]:
        return sorted((row.value or b"").decode() for row in self.rows(name))

    def replay(self, wanted: Wanted | None = None, to: str | None = None) -> int:
        letters = DeadLetters(self.client, self.topic)
        asked = survey(letters, wanted or Wanted(), to)
        return replay(letters, asked, to, self.client, lambda _done, _total: None)


@pytest.fixture
def dead(kafka: str, topic_name: str) -> Fixture:
    return Fixture(kafka, topic_name)


def test_records_come_back_as_they_were(dead: Fixture) -> None:
    dead.add(4)
    assert dead.replay() == 4
    assert [
        (row.partition, row.key, row.value, row.timestamp, row.headers) for row in dead.rows()
    ] == [
        (n % 2, b"k%d" % n, b"check-%d" % n, 1_000_000 + n, (("own", b"1"),)) for n in (0, 2, 1, 3)
    ]


def test_each_is_replayed_once_whatever_is_asked_for(dead: Fixture) -> None:
    dead.add(3, "check")
    dead.add(3, "parse")
    assert dead.replay(Wanted(steps=frozenset({"parse"}))) == 3
    assert dead.replay(Wanted(steps=frozenset({"parse"}))) == 0
    assert dead.replay() == 3
    assert dead.replay() == 0
    dead.add(2, "later")
    assert dead.replay() == 2
    assert len(dead.values()) == len(set(dead.values())) == 8


def test_to_another_topic(dead: Fixture) -> None:
    dead.add(3, topic="gone")
    letters = DeadLetters(dead.client, dead.topic)
    found = survey(letters, Wanted(), None)
    assert not found.chosen
    assert len(found.left_out) == 3
    assert dead.replay(to=f"{dead.app}-other") == 3
    assert dead.values("other") == ["check-0", "check-1", "check-2"]


def test_what_was_too_large_is_left_out(dead: Fixture) -> None:
    dead.add(2, "check", truncated="yes")
    dead.add(1, "parse")
    assert dead.replay() == 1
    assert dead.values() == ["parse-0"]


def test_records_behind_an_open_transaction_are_waited_for(dead: Fixture) -> None:
    dead.add(2)
    writer = Producer({**dead.client, "transactional.id": dead.app, "log_level": 0})
    writer.init_transactions(30)
    writer.begin_transaction()
    writer.produce(dead.topic, b"aborted", partition=0)
    writer.flush()
    letters = DeadLetters(dead.client, dead.topic)
    reading = letters.read(letters.ends())
    found = [next(reading) for _ in range(3)]
    writer.abort_transaction(30)
    found += reading
    assert sum(map(len, found)) == 2


def test_without_letters_there_is_nothing_to_do(dead: Fixture) -> None:
    assert dead.replay() == 0
    with pytest.raises(TopicMismatch, match="there is no topic nowhere"):
        DeadLetters(dead.client, "nowhere")


def test_a_record_that_the_topic_refuses(dead: Fixture) -> None:
    dead.add(1, topic=f"{dead.app}-small")
    ledger.create(dead.kafka, {f"{dead.app}-small": 1}, **{"max.message.bytes": "10"})
    with pytest.raises(KafkaError, match=r"max\.message\.bytes"):
        dead.replay()
    assert dead.values("small") == []


POINTS = ["produce:1", "produce:14", "produce:35", "before-commit:1", "before-commit:3"]
POINTS += ["after-commit:1", "after-commit:2", "after-commit:4"]


@pytest.mark.parametrize(
    "points",
    [
        ["produce:14", "before-commit:1", "after-commit:1"],
        pytest.param(random.Random(SEED).choices(POINTS, k=8), marks=pytest.mark.long),
    ],
)
def test_a_replay_that_is_killed_and_repeated_does_not_double(
    dead: Fixture, points: list[str]
) -> None:
    count = 35
    dead.add(count)
    command = ["dlq", "replay", "-a", dead.app, "--yes", "--bootstrap", dead.kafka]
    for point in (*points, ""):
        environment = {**os.environ, "DIE_AT": point}
        done = forks.run("tests.admin.dying_replay", *command, env=environment)
        assert done.returncode in ((-9, 0) if point else (0,)), done.stderr
    assert dead.values() == sorted(f"check-{number}" for number in range(count)), points
