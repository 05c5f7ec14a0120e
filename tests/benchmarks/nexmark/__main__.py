"""Rates of Nexmark's queries on a real Kafka, from start to the end of the input.

    uv run python -m tests.benchmarks.nexmark [--query N ...] [--events N] [--partitions N]
        [--slots N] [--bootstrap HOST:PORT] [--set NAME=VALUE ...]

All events are in Kafka before a query begins. The rate is that of the records in the topics that
the query reads, by the offsets that are committed: from the first commit past 20 % of them to the
last, so that start-up is left out. `cpu` is that of all processes over the same stretch, in
core-seconds per million records. `bad` are records that are no part of the results, such as late
ones.

Without --bootstrap, Kafka runs on this machine for as long as this does.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from confluent_kafka import Consumer, KafkaException, TopicPartition

from processor.edges.embedded import EmbeddedKafka

PREFIX = os.environ.setdefault("NEXMARK_PREFIX", f"nexmark-{uuid.uuid4().hex[:6]}")

from processor.loading import load  # noqa: E402 - the prefix is needed first
from processor.topology.plan import plan  # noqa: E402
from tests import ledger  # noqa: E402
from tests.benchmarks.nexmark.events import events  # noqa: E402
from tests.benchmarks.nexmark.inputs import output, produce  # noqa: E402

QUERIES = (*range(9), 11, 12, 13)
KPROC = "import sys; from processor.cli.main import main; sys.exit(main())"
WARM = 0.2
INTERVAL = 0.1


class Point(NamedTuple):
    """How much was committed at a time, in seconds, and the core-seconds so far."""

    at: float
    done: int
    cpu: float


def measure(args: argparse.Namespace, kafka: str, number: int, counts: dict[str, int]) -> str:
    """Runs a query until the end of its input; a line of the table."""
    spec = f"tests.benchmarks.nexmark.queries:q{number}"
    made = plan(load(spec))
    partitions = [
        TopicPartition(topic, each) for topic in made.inputs for each in range(args.partitions)
    ]
    ledger.create(kafka, {output(f"q{number}"): args.partitions})
    wanted = sum(counts[topic] for topic in made.inputs)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        sets = [f"--set={each}" for each in args.set]
        options = [f"--bootstrap={kafka}", f"--state-dir={folder}", f"--slots={args.slots}", *sets]
        command = [sys.executable, "-c", KPROC, "run", spec, "--until-end", "--no-show", *options]
        began = time.monotonic()
        process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        points = list(watch(process, committed(kafka, made.application, partitions)))
        took = time.monotonic() - began
        if process.wait():
            log.seek(0)
            sys.exit(f"q{number}:\n{log.read()[-3000:]}")
        log.seek(0)
        bad = sum(map(int, re.findall(r"bad[ =](\d+)", log.read())))
    return line(f"q{number}", wanted, took, points, bad)


def committed(kafka: str, group: str, partitions: list[TopicPartition]) -> Callable[[], int]:
    """A function that gives how many records are committed."""
    settings = {"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False}
    consumer = Consumer({**settings, "isolation.level": "read_uncommitted"})

    def done() -> int:
        try:
            return sum(max(0, each.offset) for each in consumer.committed(partitions, 30))
        except KafkaException:  # while the broker makes up its mind who coordinates the group
            return 0

    return done


def watch(process: psutil.Popen, done: Callable[[], int]) -> Iterator[Point]:
    """Each time that more was committed, until the process ends."""
    last, cpu = -1, 0.0
    while process.poll() is None:
        cpu = max(cpu, used(process))
        if (found := done()) > last:
            last = found
            yield Point(time.monotonic(), found, cpu)
        time.sleep(INTERVAL)
    yield Point(time.monotonic(), done(), cpu)


def used(process: psutil.Popen) -> float:
    """Core-seconds of a process and its children."""
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            total += sum(each.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def line(name: str, wanted: int, took: float, points: list[Point], bad: int) -> str:
    reached = next(point for point in points if point.done == points[-1].done)
    warm = next(point for point in points if point.done >= WARM * wanted)
    done, seconds = reached.done - warm.done, reached.at - warm.at
    rate, cpu = (done / seconds, (reached.cpu - warm.cpu) / done * 1e6) if done else (0, 0)
    return f"{name:>5} {wanted:>10,} {took:>8.1f} {rate:>12,.0f} {cpu:>8.1f} {bad:>8,}"


@contextmanager
def broker(address: str | None) -> Generator[str]:
    """The given one, or one of its own."""
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka.start(Path(folder), port=0) as own:
        yield own.bootstrap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--query", type=int, nargs="+", choices=QUERIES, default=QUERIES)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--bootstrap")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    with broker(args.bootstrap) as kafka:
        counts = produce(kafka, events(args.events), args.partitions)
        print("query    records  seconds    records/s      cpu      bad", flush=True)
        for number in args.query:
            print(measure(args, kafka, number, counts), flush=True)


if __name__ == "__main__":
    main()
