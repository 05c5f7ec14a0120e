"""What repartitions and state cost here and in another checkout: time, rate, bytes and latency.

    python -m tests.benchmarks.repartition --other ../before [--set max_task_idle=]
        [--jobs count] [--partitions 4 64] [--rounds 3] [--latency 30 [--rate 1000]]

Records in the order of their times go through a repartition by another key to a sum by window, to a
count, or to nothing but a topic; or without one to a map, or to sums that are kept as dicts or as
objects. Both checkouts run in turn on the same broker, each in its own
environment (`uv run --project`); only the ratios count. `--other . --set max_task_idle=` is what it
costs to keep time behind repartitions: the sum's windows stay open, so that both do the same work.
With `--latency` records come at a steady rate for so many seconds, and what is measured is the time
from the record's timestamp to the result that is read as committed. Many partitions need a low
rate: each of them is one request to the broker, for a handful of records.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread

import psutil
from confluent_kafka import Consumer, Producer
from confluent_kafka import TopicPartition as ClientPartition

from processor.local.embedded import EmbeddedKafka
from tests import ledger

COUNT, STEP, FIRST = 1_000_000, 10, 1_500_000_000_000
WARM = 15.0
"""Seconds before latency is measured."""

JOBS = {
    "windowed sum": "stream.group_by('other', name='other').window(tumbling('10s', grace='12h'))"
    ".aggregate(int, lambda a, v: a + v['amount'], name='sums').to(OUT)",
    "count": "stream.group_by('other', name='other').count(name='counts').to(OUT)",
    "copy": "stream.key_by('other').repartition(name='other').to(OUT)",
    "map": "stream.map_values(lambda v: {**v, 'big': True}).to(OUT, value=json)",
    "sum": "stream.group_by_key().aggregate(dict, lambda a, v: {'n': a.get('n', 0) + v['amount'],"
    " 'last': v['other']}, name='sums').to(OUT, value=json)",
    "sum of objects": "stream.group_by_key().aggregate(Sum, add, name='sums').to(OUT)",
}
TOPOLOGY = """
from dataclasses import dataclass
from processor import Topology, tumbling
from processor.serdes import json

@dataclass
class Sum:
    amount: int = 0
    records: int = 0
    last: str = ""

def add(so_far: Sum, value: dict) -> Sum:
    return Sum(so_far.amount + value["amount"], so_far.records + 1, value["other"])

OUT = {out!r}
topology = Topology({run!r})
stream = topology.stream({topic!r})
{job}
"""
VALUE = '{"other":"o%d","amount":%d}'


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: What it is called here.
        project: The checkout.
        sets: Settings of it alone.
    """

    name: str
    project: Path
    sets: list[str]


@dataclass(frozen=True)
class Place:
    """Where a job runs once.

    Attributes:
        kafka: The broker's address.
        scratch: The folder of the topologies and the state.
        run: The application's name.
        partitions: Of input and output.
    """

    kafka: str
    scratch: Path
    run: str
    partitions: int

    def write(self, topic: str, job: str) -> Path:
        """Makes the output topic and the topology's file."""
        ledger.create(self.kafka, {f"{self.run}-out": self.partitions})
        file = self.scratch / f"{self.run}.py"
        text = TOPOLOGY.format(out=f"{self.run}-out", run=self.run, topic=topic, job=JOBS[job])
        file.write_text(text)
        return file


def feed(kafka: str, topic: str, partitions: int) -> None:
    """Writes the input."""
    ledger.create(kafka, {topic: partitions})
    rows = (
        (number % partitions, f"k{number}", VALUE % (number * 7919 % 5000, number % 1000), time_of)
        for number in range(COUNT)
        if (time_of := FIRST + number * STEP)
    )
    ledger.write(kafka, topic, rows)


def cpu_of(process: psutil.Popen) -> float:
    """Seconds of the process and its children so far."""
    found = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            used = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        found += used.user + used.system
    return found


@contextmanager
def running(side: Side, place: Place, file: Path, *options: str) -> Generator[psutil.Popen]:
    """Runs a job; kills it at the end."""
    given = ["--no-show", f"--bootstrap={place.kafka}", "--set=slots=2", *options]
    state = f"--set=state_dir={place.scratch / place.run}"
    command = ["uv", "run", "--project", str(side.project), "kproc", "run", str(file), *given]
    log = place.scratch / f"{place.run}.log"
    # Elsewhere: workers take the package of the folder in which they are started.
    with log.open("w") as output:
        process = psutil.Popen(
            [*command, state, *(f"--set={each}" for each in side.sets)],
            cwd=place.scratch,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        assert process.wait(60) in {0, 130}, log.read_text()[-2000:]


def spent(side: Side, place: Place, file: Path) -> tuple[float, float]:
    """Processor seconds and seconds for all of the input."""
    began, cpu = time.monotonic(), 0.0
    with running(side, place, file, "--until-end") as process:
        while process.poll() is None:
            cpu = max(cpu, cpu_of(process))
            time.sleep(0.05)
    assert process.returncode == 0
    return cpu, time.monotonic() - began


def megabytes(folder: Path, pattern: str) -> float:
    """Of the files in a folder whose paths fit."""
    return sum(each.stat().st_size for each in folder.glob(pattern) if each.is_file()) / 1e6


def measure_cost(given: argparse.Namespace, sides: list[Side], scratch: Path, kafka: str) -> None:
    """Processor time, rate and bytes for all of the input, as a table."""
    print("| job | partitions | CPU s here, other | ratio | seconds here, other | ratio |", end="")
    print(" repartition MB here, other | state MB here, other |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for partitions in given.partitions:
        topic = f"input-{partitions}"
        feed(kafka, topic, partitions)
        for job in given.jobs:
            found: dict[str, list[tuple[float, float, float, float]]] = {}
            for number in range(given.rounds):
                for side in sides if number % 2 == 0 else sides[::-1]:
                    run = f"{job.replace(' ', '-')}-{partitions}-{number}-{side.name}"
                    place = Place(kafka, scratch, run, partitions)
                    took = spent(side, place, place.write(topic, job))
                    topics = megabytes(scratch / "kafka" / "data", f"{run}-other-*/*.log")
                    state = megabytes(scratch / run, "**/*.sst")
                    found.setdefault(side.name, []).append((*took, topics, state))
            cpu, took, topics, state = (
                [median(row[n] for row in found[side.name]) for side in sides] for n in range(4)
            )
            print(
                f"| {job} | {partitions} | {cpu[0]:.2f}, {cpu[1]:.2f} | {cpu[0] / cpu[1]:.3f} |"
                f" {took[0]:.1f}, {took[1]:.1f} | {took[0] / took[1]:.3f} |"
                f" {topics[0]:.1f}, {topics[1]:.1f} | {state[0]:.1f}, {state[1]:.1f} |",
                flush=True,
            )


def pace(kafka: str, topic: str, partitions: int, rate: int, until: Event) -> None:
    """Writes records of now, so many per second."""
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5})
    began, number = time.time(), 0
    while not until.is_set():
        while number < (time.time() - began) * rate:
            value = VALUE % (number * 7919 % 5000, number % 1000)
            producer.produce(topic, value, f"k{number}", number % partitions)
            number += 1
        producer.poll(0.005)
    producer.flush()


def latencies(kafka: str, topic: str, partitions: int, seconds: float) -> list[float]:
    """Milliseconds from the timestamps of results to when they are read as committed, sorted."""
    settings = {
        "bootstrap.servers": kafka,
        "group.id": f"{topic}-reader",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 10,
    }
    consumer, found = Consumer(settings), list[float]()
    consumer.assign([ClientPartition(topic, number, 0) for number in range(partitions)])
    began = time.time()
    while (now := time.time()) < began + WARM + seconds:
        messages, now = consumer.consume(5000, 0.005), time.time()
        if now > began + WARM:
            found += [now * 1000 - message.timestamp()[1] for message in messages]
    consumer.close()
    return sorted(found)


def measure_latency(
    given: argparse.Namespace, sides: list[Side], scratch: Path, kafka: str
) -> None:
    """Latency at a steady rate, as a table."""
    print("| job | partitions | side | results | ms median | p95 | p99 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for partitions in given.partitions:
        for job in given.jobs:
            for number in range(given.rounds):
                for side in sides:
                    run = f"paced-{job.replace(' ', '-')}-{partitions}-{number}-{side.name}"
                    place, stop = Place(kafka, scratch, run, partitions), Event()
                    ledger.create(kafka, {f"{run}-in": partitions})
                    file = place.write(f"{run}-in", job)
                    paced = (kafka, f"{run}-in", partitions, given.rate, stop)
                    feeder = Thread(target=pace, args=paced)
                    with running(side, place, file):
                        feeder.start()
                        found = latencies(kafka, f"{run}-out", partitions, given.latency)
                        stop.set()
                        feeder.join()
                    if not found:
                        sys.exit(f"{job} gave no results: its windows are open for longer")
                    p50, p95, p99 = (found[int(len(found) * share)] for share in (0.5, 0.95, 0.99))
                    print(
                        f"| {job} | {partitions} | {side.name} | {len(found)} |"
                        f" {p50:.0f} | {p95:.0f} | {p99:.0f} |",
                        flush=True,
                    )


def main() -> None:
    """Runs everything in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--set", nargs="+", default=[], help="settings of the other one alone")
    parser.add_argument("--partitions", nargs="+", type=int, default=[4, 64])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latency", type=float, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=5_000, help="records per second")
    given = parser.parse_args()
    here = Side("here", Path(__file__).parents[2], [])
    sides = [here, Side("other", given.other.resolve(), given.set)]
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedKafka.start(Path(scratch) / "kafka", port=0, config={}, timeout=180) as broker,
    ):
        measure = measure_cost if given.latency is None else measure_latency
        measure(given, sides, Path(scratch), broker.bootstrap)


if __name__ == "__main__":
    main()
