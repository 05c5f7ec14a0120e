"""Rates of Nexmark's queries on a real Kafka: of kproc, and of Kafka Streams beside it.

    uv run python -m tests.benchmarks.nexmark [--query N ...] [--system NAME ...] [--rounds N]
        [--events N] [--partitions N] [--slots N] [--bootstrap HOST:PORT] [--set NAME=VALUE ...]

All events are in Kafka before a query begins. The rate is that of the records in the topics that
the query reads, by the offsets that are committed: from the first commit past 20 % of them until
all is done, internal topics included, so that start-up is left out. `cpu` is that of all processes
over the same stretch, in core-seconds per million records. The results are compared with the
recomputation; but for query 6, whose last sessions stay open.

Several systems take turns, as often as --rounds says, and their medians are compared at the end.
All are exactly-once, commit every 100 ms, and have as many threads as slots. --set is for kproc.

Without --bootstrap, Kafka runs on this machine for as long as this does. kafka-streams takes a
JDK 17 and Maven.
"""

import argparse
import os
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

PREFIX = os.environ.setdefault("NEXMARK_PREFIX", f"nexmark-{uuid.uuid4().hex[:6]}")

from processor.local.embedded import EmbeddedKafka  # noqa: E402 - the prefix is needed first
from tests.benchmarks.nexmark.runs import Events, measure  # noqa: E402
from tests.benchmarks.nexmark.systems import QUERIES, SYSTEMS, Job  # noqa: E402
from tests.benchmarks.progress import Stretch  # noqa: E402
from tests.benchmarks.systems import KAFKA_STREAMS, KPROC, build_kafka_streams  # noqa: E402


@contextmanager
def broker(address: str | None) -> Generator[str]:
    """The given one, or one of its own."""
    if address:
        yield address
        return
    with tempfile.TemporaryDirectory() as folder, EmbeddedKafka.start(Path(folder), port=0) as own:
        yield own.bootstrap


def line(name: str, system: str, found: Stretch) -> str:
    return f"{name:>5}  {system:<13} {found.seconds:>8.1f} {found.rate:>12,.0f} {found.cpu:>8.2f}"


def comparison(number: int, found: dict[str, list[Stretch]]) -> str:
    """The medians of both systems, and how they compare."""
    ours, theirs = found[KPROC], found[KAFKA_STREAMS]
    rate, other_rate = (median(each.rate for each in one) for one in (ours, theirs))
    cpu, other_cpu = (median(each.cpu for each in one) for one in (ours, theirs))
    rates = f"{rate:,.0f} | {other_rate:,.0f} | {rate / other_rate:.2f}"
    return f"| {number} | {rates} | {cpu:.1f} | {other_cpu:.1f} | {other_cpu / cpu:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--query", type=int, nargs="+", choices=QUERIES, default=QUERIES)
    parser.add_argument("--system", nargs="+", choices=SYSTEMS, default=[KPROC])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--slots", type=int, default=1)
    parser.add_argument("--bootstrap")
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args()
    if KAFKA_STREAMS in args.system:
        build_kafka_streams()
    compared: list[str] = []
    with broker(args.bootstrap) as kafka:
        events = Events(kafka, args.events, args.partitions)
        print("query  system         seconds    records/s      cpu", flush=True)
        for number in args.query:
            found: dict[str, list[Stretch]] = {}
            for turn in range(args.rounds):
                for system in (each for each in args.system if number in SYSTEMS[each].queries):
                    run = f"{PREFIX}-{system}-{turn}"
                    job = Job(kafka, number, run, args.slots, tuple(args.set))
                    found.setdefault(system, []).append(measure(system, job, events))
                    print(line(f"q{number}", system, found[system][-1]), flush=True)
            if len(found) > 1:
                compared.append(comparison(number, found))
    print("", *compared, sep="\n")


if __name__ == "__main__":
    main()
