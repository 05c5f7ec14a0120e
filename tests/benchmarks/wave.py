"""A load wave of eight times the load against the autoscaler: a real Kafka, nodes with a core each.

    uv run python -m tests.benchmarks.wave [--low 100] [--cost 1.6] [--window 60] [--svg FILE]
    uv run python -m tests.benchmarks.wave --nodes 2
    uv run python -m tests.benchmarks.wave --simulate [--svg FILE]

Each record takes `--cost` ms of a processor. The load is `--low` records a second, rises to eight
times that within half a minute, stays for two minutes, and falls back. Lag is given in the seconds
that the nodes there are need for it. Compared is a number of nodes that stays, as small as keeps
up; `--nodes` runs with that number from beginning to end. `--simulate` does the same with the
simulation of tests/cluster, on up to eight nodes.
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
from confluent_kafka import Producer

from processor.cluster.autoscale import Policy
from processor.cluster.explain import explain
from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.cluster.simulation import World, scaled

TOPOLOGY = """
import time
from processor import Topology

topology = Topology("wave")

def work(value: str) -> str:
    until = time.thread_time() + {cost}
    while time.thread_time() < until:
        pass
    return value

topology.stream("wave-in", value=str).map_values(work).to("wave-out")
"""
LOW, RISE, HIGH, FALL = 40, 30, 120, 30
TIMES = 8
WIDTH, HEIGHT, LEFT = 900, 130, 60


@dataclass(frozen=True, slots=True)
class Point:
    """What was seen at a time, in seconds since the beginning."""

    at: float
    sent: float  # records per second
    lag: float  # seconds of work
    live: int
    ordered: int
    cpu: float  # core-seconds of all nodes so far


def load(low: float) -> list[tuple[float, float]]:
    """Time and records per second, between which it is linear."""
    times = [0, LOW, LOW + RISE, LOW + RISE + HIGH, LOW + RISE + HIGH + FALL]
    return list(zip(times, [low, low, low * TIMES, low * TIMES, low], strict=True))


def rate(curve: list[tuple[float, float]], at: float) -> float:
    for (before, first), (after, last) in pairwise(curve):
        if before <= at < after:
            return first + (last - first) * (at - before) / (after - before)
    return curve[-1][1]


def produce(kafka: str, curve: list[tuple[float, float]], began: float, seconds: float) -> None:
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5})
    sent, due = 0, 0.0
    last = began
    while (now := time.monotonic()) < began + seconds:
        due += rate(curve, now - began) * (now - last)
        last = now
        while sent < due:
            producer.produce("wave-in", str(sent), partition=sent % 2)
            sent += 1
        producer.poll(0.02)
    producer.flush()


class Processors:
    """Processor time of all nodes, those that have ended too."""

    def __init__(self, root: int) -> None:
        self._root = psutil.Process(root)
        self._seconds: dict[tuple[int, float], float] = {}

    def total(self) -> float:
        for process in self._root.children(recursive=True):
            try:
                times = process.cpu_times()
                self._seconds[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return sum(self._seconds.values())


def watch(
    lines: Iterator[str], processors: Processors, began: float, arguments: Any
) -> Iterator[Point]:
    """A point for each recommendation, until the time is over; changes are printed."""
    curve = load(arguments.low)
    for line in lines:
        entry: dict[str, Any] = json.loads(line)
        at = time.monotonic() - began
        work = entry["lag"] * arguments.cost / 1000 / max(1, entry["live"])
        cpu = processors.total()
        yield Point(at, rate(curve, at), work, entry["live"], entry["nodes"], cpu)
        if entry["nodes"] != entry["before"]:
            print(f"{at:6.0f} s  {entry['text']}", flush=True)
        if at >= arguments.seconds:
            return


def run(arguments: Any, folder: Path, kafka: str) -> list[Point]:
    (folder / "wave.py").write_text(TOPOLOGY.format(cost=arguments.cost / 1000))
    ledger.create(kafka, {"wave-in": 2, "wave-out": 2})
    command = [sys.executable, "-m", "processor.cli", "autoscale", str(folder / "wave.py")]
    least, most = (arguments.nodes, arguments.nodes) if arguments.nodes else (1, 2)
    options = ["--actuator=local", f"--min={least}", f"--max={most}", "--json", "--interval=2s"]
    where = ["--bootstrap", kafka, "--set", f"state_dir={folder / 'state'}", "--set", "slots=2"]
    window = f"--window={arguments.window}s"
    with subprocess.Popen(
        [*command, *options, window, *where], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it works
        began = time.monotonic()
        more = (kafka, load(arguments.low), began, arguments.seconds)
        Thread(target=produce, args=more, daemon=True).start()
        points = list(watch(iter(process.stdout), Processors(process.pid), began, arguments))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait() == 0
    return points


def simulate(arguments: Any) -> list[Point]:
    """The same wave, of up to eight nodes that don't exist; a record takes a tenth of a ms."""
    arguments.low, arguments.cost, arguments.seconds = 4000, 0.1, 900
    curve = load(arguments.low)
    world = World(lambda at: rate(curve, at), arguments.seconds)
    seen = scaled(world, Policy(1, 8))
    points: list[Point] = []
    cpu = 0.0
    for at, (lag, live, ordered) in enumerate(zip(seen.lag, seen.live, seen.ordered, strict=True)):
        cpu += live
        points.append(Point(at, rate(curve, at), lag, live, ordered, cpu))
    for advice in seen.advice:
        if advice.is_change:
            print(f"{advice.at:6.0f} s  {explain(advice, Policy(1, 8))}")
    return points


def summary(points: list[Point], arguments: Any) -> str:
    peak = LOW + RISE
    steps = [points[0].ordered] + [b.ordered for a, b in pairwise(points) if a.ordered != b.ordered]
    ups = [b > a for a, b in pairwise(steps)]
    late = [point.at - peak for point in points if point.at > peak and point.lag >= 5]
    needed = math.ceil(arguments.low * TIMES * arguments.cost / 1000)
    used = sum((b.at - a.at) * max(a.live, a.ordered) for a, b in pairwise(points))
    fixed = needed * (points[-1].at - points[0].at)
    rows = {
        "nodes, one after the other": " → ".join(map(str, steps)),
        "reversals": str(sum(a != b for a, b in pairwise(ups))),
        "most lag": f"{max(point.lag for point in points):.1f} s of work",
        "lag under 5 s for good, after the peak's beginning": f"{max(late, default=0.0):.0f} s",
        "node-seconds": f"{used:.0f}",
        f"node-seconds of {needed} nodes all the time": f"{fixed:.0f} ({used / fixed:.2f} times)",
        "core-seconds that the nodes used": f"{points[-1].cpu - points[0].cpu:.0f}",
    }
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def picture(points: list[Point]) -> str:
    """Load, lag and nodes over time, one below the other."""
    end = points[-1].at
    rows = {
        "records/s": [point.sent for point in points],
        "lag, s of work": [point.lag for point in points],
        "nodes": [float(point.live) for point in points],
    }
    parts: list[str] = []
    for number, (name, values) in enumerate(rows.items()):
        top, most = 20 + number * (HEIGHT + 30), max(*values, 1.0)
        xs = [LEFT + (WIDTH - LEFT - 10) * point.at / end for point in points]
        ys = [top + HEIGHT * (1 - value / most / 1.05) for value in values]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        base = top + HEIGHT
        parts += [
            f'<path d="M{LEFT},{top} V{base} H{WIDTH - 10}" fill="none" stroke="#888"/>',
            f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>',
            f'<text x="{LEFT + 6}" y="{top + 10}">{name}</text>',
            f'<text x="{LEFT - 6}" y="{top + 12}" text-anchor="end">{most:,.0f}</text>',
            f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">0</text>',
        ]
    bottom = 20 + 3 * (HEIGHT + 30)
    parts += [
        f'<text x="{LEFT + (WIDTH - LEFT - 10) * at / end:.1f}" y="{bottom}" '
        f'text-anchor="middle">{at} s</text>'
        for at in range(0, int(end), 60)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 10}" '
        f'font-family="sans-serif" font-size="12" fill="#555">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--low", type=float, default=100, help="records a second before and after")
    parser.add_argument("--cost", type=float, default=1.6, help="ms of a core for a record")
    parser.add_argument("--window", type=int, default=60, help="seconds that nodes stay")
    parser.add_argument("--nodes", type=int, help="this many from beginning to end")
    parser.add_argument("--seconds", type=float, default=330, help="how long it is watched")
    parser.add_argument("--svg", type=Path, help="draw what was seen")
    parser.add_argument("--simulate", action="store_true", help="without Kafka and nodes")
    arguments = parser.parse_args()
    points = simulate(arguments) if arguments.simulate else measure(arguments)
    print(summary(points, arguments))
    if arguments.svg:
        arguments.svg.write_text(picture(points))


def measure(arguments: Any) -> list[Point]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with EmbeddedKafka.start(folder / "kafka", port=0) as kafka:
            return run(arguments, folder, kafka.bootstrap)


if __name__ == "__main__":
    main()
