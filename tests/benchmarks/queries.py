"""What queries of a slot take, and what they cost it: gets while it counts, beside counting alone.

    uv run python -m tests.benchmarks.queries --rate 5000 --batch 50 --seconds 20

One slot of an embedded Kafka's counts by key what was written before; a process of its own asks its
node for `batch` random keys at a time, at the pace of `rate` keys a second. Each turn is done
without queries and with them. Throughput is that of the seconds in the middle, of all turns; and
that of a second of the worker's processor time, which others on the machine matter less to.
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from processor import Topology
from processor.client import Client
from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.integration.conftest import App
from tests.integration.node_process import NodeProcess

_KEYS = 100_000
_WARM = 4.0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=5000, help="Keys a second.")
    parser.add_argument("--batch", type=int, default=50, help="Keys of a question.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--records", type=int, default=6_000_000)
    parser.add_argument("--ask", metavar="URL", help="Only ask, as a process of its own does.")
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(_ask(given.ask, given.rate, given.batch, given.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder, _kafka(Path(folder) / "kafka") as kafka:
        rates: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        _fill(kafka, given.records)
        for turn in range(given.turns):
            for asking in (False, True):
                app = App(kafka, f"queried-{turn}-{int(asking)}", Path(folder))
                app.input = "queried-in"
                app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
                app.topics("out", partitions=1)
                rate, by_cpu, asked = _turn(app, given, asking=asking)
                rates[asking].append((rate, by_cpu))
                name = "with queries" if asking else "alone"
                print(f"{name:13} {rate:10,.0f} records/s, {by_cpu:10,.0f} by processor", asked)
        for number, name in enumerate(("the throughput", "that by processor time")):
            alone, beside = (
                statistics.mean(each[number] for each in rates[asking]) for asking in (False, True)
            )
            print(f"{1 - beside / alone:.1%} off {name}")
        print(f"load {os.getloadavg()[0]:.1f}")


def _turn(app: App, given: Any, *, asking: bool) -> tuple[float, float, str]:
    with app.start(http=":0", slots=1) as node:
        page = app.await_log(node, "http")["page"]
        while _records(page) < _KEYS:
            time.sleep(0.05)
        time.sleep(_WARM)
        worker = node.worker_of(0)
        began, before, used = time.monotonic(), _records(page), _cpu(worker)
        asked = _asking(page, given) if asking else None
        if asked is None:
            time.sleep(given.seconds)
        text = "" if asked is None else asked.communicate()[0].strip()
        done = _records(page) - before
        rate, by_cpu = done / (time.monotonic() - began), done / (_cpu(worker) - used)
        _check_busy(node, page)
        node.kill()
        return rate, by_cpu, text


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _asking(page: str, given: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.queries", "--ask", page]
    numbers = {"rate": given.rate, "batch": given.batch, "seconds": given.seconds}
    options = [f"--{name}={value}" for name, value in numbers.items()]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)


def _ask(page: str, rate: int, batch: int, seconds: float) -> dict[str, float]:
    chance = random.Random(7)
    took: list[float] = []
    topology = Topology("queried")
    topology.stream("queried-in").group_by_key().count(name="counts")
    with Client(page, topology) as client:
        counts = client.store("counts")
        began = time.perf_counter()
        due = began
        while due < began + seconds:
            time.sleep(max(0.0, due - time.perf_counter()))
            keys = [f"k{chance.randrange(_KEYS)}" for _ in range(batch)]
            at = time.perf_counter()
            counts.get_many(keys)
            took.append(time.perf_counter() - at)
            due += batch / rate
        done = time.perf_counter() - began
    ordered = sorted(took)
    return {
        "gets/s": round(len(took) * batch / done),
        "p50 ms": round(statistics.median(ordered) * 1000, 2),
        "p99 ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
    }


def _records(page: str) -> float:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{page}status.json") as answer:
        return float(json.load(answer)["totals"]["records"])
    return 0.0


def _check_busy(node: NodeProcess, page: str) -> None:
    with urllib.request.urlopen(f"{page}status.json") as answer:
        lag = json.load(answer)["totals"]["lag"]
    assert lag, f"there was not enough to count: raise --records\n{node.output[-500:]}"


def _fill(kafka: str, records: int) -> None:
    ledger.create(kafka, {"queried-in": 1})
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 50, "compression.type": "lz4"})
    for n in range(records):
        ledger.produce(producer, "queried-in", 0, f"k{n % _KEYS}", "1")
        if n % 10_000 == 0:
            producer.poll(0)
    assert producer.flush(300) == 0


@contextlib.contextmanager
def _kafka(folder: Path) -> Generator[str]:
    with EmbeddedKafka.start(folder, port=0) as broker:
        yield broker.bootstrap


if __name__ == "__main__":
    main()
