"""How long slots stand still when their node or worker dies, and whether the others notice.

    uv run python tests/benchmarks/failover.py [--fault node] [--rounds 20] [--bootstrap HOST:PORT]

Counts on four partitions, 2,000 records a second, two slots. Faults:

    node     a node is killed with all its workers (SIGKILL); its backup on another node adopts
    freeze   the same with SIGSTOP; it goes on after the measurement, and is fenced
    leave    a node is asked to end (SIGTERM)
    worker   one worker process is killed (SIGKILL)
    alone    the same with one node and no backup: the worker is started again

The figures: seconds from the fault to the first committed output, of each partition concerned, made
of a record that was written after the fault (the worst of these partitions counts), and the longest
pause between two outputs of a partition that was not concerned, where 0.1 s is the usual one.
"""

import argparse
import itertools
import os
import random
import signal
import statistics
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.integration.node_process import NodeProcess
from tests.integration.watch import Watch

PARTITIONS, RATE, SLOTS = 4, 2000, 2
TOPOLOGY = """
from processor import Topology

topology = Topology("{name}")
topology.stream("{name}-in", value=bytes).group_by_key().count().to("{name}-out")
"""


class Feeder(threading.Thread):
    """Writes records at a steady rate to all partitions; the keys show round and partition."""

    def __init__(self, bootstrap: str, topic: str, partitions: int = PARTITIONS) -> None:
        super().__init__(daemon=True)
        self.round = 0
        self.stopped = False
        self._partitions = partitions
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})

    def run(self) -> None:
        began, sent = time.time(), 0
        while not self.stopped:
            while sent < (time.time() - began) * RATE:
                partition = sent % self._partitions
                key = f"{self.round}-{partition}-{sent % 1000}"
                self._producer.produce(self._topic, b"1", key, partition)
                sent += 1
            self._producer.poll(0.01)
        self._producer.flush()


class Reader(threading.Thread):
    """Notes when committed output comes from each input partition, and of which round."""

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        partitions: int = PARTITIONS,
        begin: dict[int, int] | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._partitions = range(partitions)
        begin = begin or dict.fromkeys(self._partitions, 0)
        self.first: dict[tuple[int, int], float] = {}
        self.times: defaultdict[int, list[float]] = defaultdict(list)
        config = {"group.id": "reader", "isolation.level": "read_committed"}
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "fetch.wait.max.ms": 20, **config}
        )
        self._consumer.assign(
            [TopicPartition(topic, each, begin[each]) for each in self._partitions]
        )

    def run(self) -> None:
        while True:
            messages, now = self._consumer.consume(1000, 0.01), time.time()
            keys = [each.key() or b"" for each in messages if each.error() is None]
            for at, partition, _ in {tuple(key.decode().split("-")) for key in keys}:
                self.first.setdefault((int(at), int(partition)), now)
                if self.times[int(partition)][-1:] != [now]:
                    self.times[int(partition)].append(now)

    def await_first(self, number: int, limit: float = 120) -> dict[int, float]:
        """When the first output of that round came, of each partition."""
        deadline = time.time() + limit
        wanted = [(number, each) for each in self._partitions]
        while not all(each in self.first for each in wanted):
            assert time.time() < deadline, "no output"
            time.sleep(0.01)
        return {partition: self.first[number, partition] for _, partition in wanted}

    def longest_pause(self, partition: int, begin: float, end: float) -> float:
        """Between two outputs."""
        times = [each for each in list(self.times[partition]) if begin <= each <= end]
        return max((b - a for a, b in itertools.pairwise(times)), default=end - begin)


class Bench:
    """Nodes, input and output.

    Args:
        bootstrap: The broker.
        fault: What is to happen.
        settings: More settings, by their names.
    """

    def __init__(self, bootstrap: str, fault: str, settings: dict[str, str]) -> None:
        name = f"failover-{uuid.uuid4().hex[:8]}"
        admin = AdminClient({"bootstrap.servers": bootstrap})
        topics = [NewTopic(f"{name}-{end}", PARTITIONS, 1) for end in ("in", "out")]
        for made in admin.create_topics(topics).values():
            made.result()
        # A supervisor gives up on a worker that crashes five times within a minute.
        self._calm = 12.0 if fault in ("worker", "alone") else 0.0
        self._bootstrap, self._fault, self._settings = bootstrap, fault, settings
        self._folder = Path(tempfile.mkdtemp())
        (self._folder / "counting.py").write_text(TOPOLOGY.format(name=name))
        names = "a" if fault == "alone" else "ab"
        self.nodes = {name: self._start(name) for name in names}
        while not (self._folder / "a").exists():
            time.sleep(0.1)
        time.sleep(2)
        self._watch = Watch(bootstrap, name, SLOTS)
        self.feeder = Feeder(bootstrap, f"{name}-in")
        self.reader = Reader(bootstrap, f"{name}-out")
        self.feeder.start()
        self.reader.start()

    def _start(self, name: str) -> NodeProcess:
        return NodeProcess(
            self._bootstrap,
            self._folder / "counting.py",
            **{
                "slots": SLOTS,
                "state_dir": str(self._folder / name),
                "backup_mode": "restart" if self._fault == "alone" else "primary-backup",
                **self._settings,
            },
        )

    def settle(self) -> None:
        """Waits until all is as it should be."""
        self._watch.until(
            self._watch.is_running if self._fault == "alone" else self._watch.is_backed_up, 120
        )
        if self._fault in ("node", "freeze", "leave"):
            self._watch.until(
                lambda: all(self._watch.held_by(n.process.pid) for n in self.nodes.values()), 120
            )

    def fail(self, chance: random.Random) -> tuple[str, set[int]]:
        """Lets it happen; the node, and the slots concerned."""
        name = chance.choice(sorted(self.nodes))
        node = self.nodes[name]
        held = sorted(self._watch.held_by(node.process.pid))
        if self._fault in ("worker", "alone"):
            slot = chance.choice(held or [0])
            node.worker_of(slot).kill()
            return name, {slot}
        if self._fault == "node":
            node.kill()
        elif self._fault == "freeze":
            os.killpg(node.process.pid, signal.SIGSTOP)
        else:
            node.terminate()
        return name, set(held)

    def fix(self, name: str) -> None:
        """Brings back what failed."""
        node = self.nodes[name]
        if self._fault == "freeze":
            os.killpg(node.process.pid, signal.SIGCONT)
        elif self._fault in ("node", "leave"):
            node.wait()
            self.nodes[name] = self._start(name)

    def round(self, number: int, chance: random.Random) -> tuple[float, float]:
        """One fault: seconds until all partitions concerned went on, and the others' pause."""
        self.settle()
        self._watch.hear(chance.uniform(2, 3) + self._calm)
        began = time.time()
        name, slots = self.fail(chance)
        self.feeder.round = number
        seen = self.reader.await_first(number)
        time.sleep(1)
        share = PARTITIONS // SLOTS
        concerned = {part for slot in slots for part in range(slot * share, (slot + 1) * share)}
        gap = max(seen[part] - began for part in concerned)
        others = set(range(PARTITIONS)) - concerned
        pauses = [self.reader.longest_pause(part, began - 1, time.time()) for part in others]
        self.fix(name)
        return gap, max(pauses, default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--fault", choices=["node", "freeze", "leave", "worker", "alone"], default="node"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    args = parser.parse_args()
    bench = Bench(args.bootstrap, args.fault, dict(each.split("=", 1) for each in args.set))
    chance = random.Random(args.seed)
    gaps: list[float] = []
    pauses: list[float] = []
    try:
        for number in range(1, args.rounds + 1):
            gap, pause = bench.round(number, chance)
            gaps.append(gap)
            pauses.append(pause)
            print(f"round {number}: {gap:.2f} s; longest pause of the others {pause:.2f} s")
    finally:
        for node in bench.nodes.values():
            node.kill()
    ranked = sorted(gaps)
    print(
        f"{args.fault}: median {statistics.median(gaps):.2f} s, "
        f"p95 {ranked[int(0.95 * (len(ranked) - 1))]:.2f} s, most {ranked[-1]:.2f} s; "
        f"pauses of the others: median {statistics.median(pauses):.2f} s, most {max(pauses):.2f} s"
    )


if __name__ == "__main__":
    main()
