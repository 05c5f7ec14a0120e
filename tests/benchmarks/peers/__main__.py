"""Small jobs on kproc and on Kafka Streams, in turn, measured from the broker and the processes.

    uv run python -m tests.benchmarks.peers [--workload map count sum enrich sessions join]
        [--system kproc kafka-streams] [--rounds 3] [--records 3000000] [--partitions 4] [--slots 2]
        [--kafka 4.4.0] [--set NAME=VALUE ...] [--streams-set NAME=VALUE ...] [--other CHECKOUT]

Exactly-once, a checkpoint or commit every 100 ms. All records are in Kafka before. The rate is that
of the records whose offsets are committed, from a fifth of the input on until all is done; `cpu` is
that of the processes over the same stretch, in core-seconds per million records; `peak` is the most
memory that they had at once, what they share counted once. All results are compared with a
recomputation. At the end each system's medians are listed, and their ratios to those of Kafka
Streams, or with --other to those of another checkout of kproc.

Kafka Streams takes a JDK 17 and Maven.
"""

import argparse
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import psutil
from confluent_kafka import Producer
from msgspec.json import decode

from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.benchmarks.peers.workloads import TABLE, USERS, WORKLOADS, difference, rows
from tests.benchmarks.progress import Point, Progress, stretch, watch
from tests.benchmarks.systems import (
    KAFKA_STREAMS,
    KPROC,
    build_kafka_streams,
    kafka_streams,
    kproc,
    running,
)

OTHER: Final = "other"
HERE: Final = Path(__file__).parents[3]


class Found(NamedTuple):
    """One run."""

    rate: float
    cpu: float
    peak: float


class Memory:
    """The most that a process and its children had, in MB; what they share counts once."""

    def __init__(self, process: psutil.Popen) -> None:
        self._process, self.peak, self._looked = process, 0.0, 0

    def look(self) -> None:
        """Looks once in a while, as that takes time."""
        self._looked += 1
        if self._looked % 5:
            return
        total = 0
        for each in (self._process, *self._process.children(recursive=True)):
            try:
                total += each.memory_full_info().pss
            except psutil.Error:
                continue
        self.peak = max(self.peak, total / 1e6)


def fill(kafka: str, topic: str, count: int, partitions: int) -> None:
    """Writes an input."""
    ledger.create(kafka, {topic: partitions}, **{"retention.ms": "-1"})
    settings = {"linger.ms": 50, "compression.type": "lz4", "partitioner": "murmur2_random"}
    producer = Producer({"bootstrap.servers": kafka, **settings})
    for key, value, time in rows(topic, count):
        ledger.produce(producer, topic, -1, key.encode(), value, time)
    assert producer.flush(60) == 0


class Bench:
    """A broker with the inputs, and what is run on it."""

    def __init__(self, kafka: str, args: argparse.Namespace) -> None:
        self._kafka, self._args, self._filled = kafka, args, set[str]()

    def run(self, system: str, workload: str) -> Found:
        """One run.

        Raises:
            RuntimeError: It failed, or its results are wrong.
        """
        inputs = WORKLOADS[workload].inputs
        for topic in {*inputs} - self._filled:
            fill(self._kafka, topic, self._args.records, self._args.partitions)
            self._filled.add(topic)
        run = f"peers-{workload}-{system}-{uuid.uuid4().hex[:6]}"
        ledger.create(self._kafka, {f"{run}-results": self._args.partitions})
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            command = self._command(system, workload, run, folder)
            env = os.environ | {"PEERS_WORKLOAD": workload, "PEERS_RUN": run}
            if system == OTHER:
                # What the other one lacks, such as this benchmark, is found here.
                env |= {"PYTHONPATH": f"{self._args.other}:{HERE}", "PYTHONSAFEPATH": "1"}
            try:
                with running(command, env, log) as process:
                    memory = Memory(process)
                    found = stretch(list(self._watched(process, run, inputs, memory)))
            except RuntimeError as error:
                raise RuntimeError(f"{run}: {error}\n{log.read_text()[-3000:]}") from error
        written = ledger.read(self._kafka, f"{run}-results")
        results = (((row.key or b"").decode(), decode(row.value or b"null")) for row in written)
        wrong = difference(workload, self._args.records, results)
        if wrong:
            raise RuntimeError(f"{run}: {wrong}")
        topics = ledger.admin(self._kafka).list_topics(timeout=30).topics
        ledger.delete(self._kafka, [each for each in topics if each.startswith(run)])
        return Found(found.rate, found.cpu, memory.peak)

    def _watched(
        self, process: psutil.Popen, run: str, inputs: tuple[str, ...], memory: Memory
    ) -> Iterator[Point]:
        wanted = sum(USERS if topic == TABLE else self._args.records for topic in inputs)
        for point in watch(process, Progress(self._kafka, run, inputs), wanted):
            memory.look()
            yield point

    def _command(self, system: str, workload: str, run: str, folder: str) -> list[str]:
        slots = str(self._args.slots)
        if system == KAFKA_STREAMS:
            given = [self._kafka, workload, run, slots, folder, *self._args.streams_set]
            return kafka_streams("peers.Peers", *given)
        options = [f"--bootstrap={self._kafka}", f"--state-dir={folder}", f"--slots={slots}"]
        sets = [f"--set={each}" for each in self._args.set]
        other = str(self._args.other / ".venv" / "bin" / "python") if system == OTHER else ""
        spec = "tests.benchmarks.peers.topology:topology"
        return kproc(spec, *options, *sets, python=other or sys.executable)


def medians(found: list[Found]) -> Found:
    """Of each figure."""
    return Found(*map(median, zip(*found, strict=True)))


HEAD = "| workload | system | records/s | CPU s per million | peak MB | rate | CPU | peak |"
"""The last three are ratios."""


def line(workload: str, system: str, found: Found) -> str:
    """One run."""
    rate, cpu, peak = found
    return f"{workload:9} {system:14} {rate:>11,.0f}/s {cpu:>6.2f} s/M {peak:>5.0f} MB"


def shown(workload: str, found: dict[str, list[Found]]) -> Iterator[str]:
    """The medians as rows of a table, each beside those of the last system."""
    base = medians(list(found.values())[-1])
    for system, runs in found.items():
        rate, cpu, peak = medians(runs)
        ratios = f"{rate / base.rate:.2f} | {cpu / base.cpu:.2f} | {peak / base.peak:.2f}"
        yield f"| {workload} | {system} | {rate:,.0f} | {cpu:.2f} | {peak:.0f} | {ratios} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=[*WORKLOADS])
    systems = (KPROC, KAFKA_STREAMS)
    parser.add_argument("--system", nargs="+", choices=systems, default=[*systems])
    parser.add_argument("--other", type=Path, help="another checkout, compared with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--records", type=int, default=3_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--kafka", default="4.4.0", help="the broker's version")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--streams-set", action="append", default=[])
    args = parser.parse_args()
    systems = [*args.system, *([OTHER] if args.other else [])]
    if KAFKA_STREAMS in systems:
        build_kafka_streams()
    lines: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedKafka.start(Path(folder), version=args.kafka, port=0) as own,
    ):
        bench = Bench(own.bootstrap, args)
        for workload in args.workload:
            found: dict[str, list[Found]] = {each: [] for each in systems}
            for _ in range(args.rounds):
                for system in systems:
                    found[system].append(bench.run(system, workload))
                    print(line(workload, system, found[system][-1]), flush=True)
            lines += shown(workload, found)
    print("", HEAD, "| --- | --- | --- | --- | --- | --- | --- | --- |", *lines, sep="\n")


if __name__ == "__main__":
    main()
