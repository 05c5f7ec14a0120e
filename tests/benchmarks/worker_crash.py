"""How long a slot stands still when its worker is killed, and what a worker uses at rest.

    uv run python tests/benchmarks/worker_crash.py [--rounds 10] [--bootstrap 127.0.0.1:9092]

Starts a counting topology with two slots on four partitions, 2,000 records a second, and kills one
worker with SIGKILL each round. The figure is the time from the kill to the first committed output
of each of its partitions that was made of a record written after the kill. A single system is
measured, nothing compared: Kafka Streams and Quix on the same question are in the peers' benchmark.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

PARTITIONS, RATE = 4, 2000
TOPOLOGY = """
from processor import Topology

topology = Topology("{name}", settings={{"bootstrap": "{bootstrap}", "slots": 2}})
topology.stream("{name}-in", value=bytes).group_by_key().count().to("{name}-out")
"""


class Feeder(threading.Thread):
    """Writes records at a steady rate to all partitions; the keys tell round and partition."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.round = 0
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})

    def run(self) -> None:
        began, sent = time.time(), 0
        while True:
            while sent < (time.time() - began) * RATE:
                partition = sent % PARTITIONS
                key = f"{self.round}-{partition}-{sent % 1000}"
                self._producer.produce(self._topic, b"1", key, partition)
                sent += 1
            self._producer.poll(0.005)


def workers(node: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes that have a slot: those with threads of their clients."""
    children = psutil.Process(node.pid).children(recursive=True)
    return [
        child
        for child in children
        if "processor.edges.worker" in child.cmdline() and child.num_threads() > 5
    ]


def first_outputs(consumer: Consumer, number: int, wanted: set[int] | None, limit: float) -> set:
    """Reads until outputs of that round have come from these partitions."""
    seen: dict[int, float] = {}
    end = time.time() + limit
    while time.time() < end and (wanted is None or not wanted <= seen.keys()):
        for message in consumer.consume(1000, 0.01):
            if message.error() is None:
                at, partition, _ = message.key().decode().split("-")
                if int(at) == number:
                    seen.setdefault(int(partition), time.time())
        if wanted is None and len(seen) == PARTITIONS:
            break
    return set(seen.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    name = f"worker-crash-{uuid.uuid4().hex[:8]}"
    topics = [NewTopic(f"{name}-{end}", PARTITIONS, 1) for end in ("in", "out")]
    admin = AdminClient({"bootstrap.servers": args.bootstrap})
    for made in admin.create_topics(topics).values():
        made.result()
    folder = Path(tempfile.mkdtemp())
    (folder / "counting.py").write_text(TOPOLOGY.format(name=name, bootstrap=args.bootstrap))
    command = [sys.executable, "-c", "from processor.cli.main import main; main()"]
    log = (folder / "log").open("wb")
    node = subprocess.Popen(
        [*command, "run", "counting.py"], cwd=folder, stdout=log, stderr=subprocess.STDOUT
    )
    consumer = Consumer(
        {
            "bootstrap.servers": args.bootstrap,
            "group.id": name + "-reader",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(f"{name}-out", number, 0) for number in range(PARTITIONS)])
    time.sleep(10)
    resting = [worker.memory_info().rss / 2**20 for worker in workers(node)]
    print("memory of a worker at rest, MB:", [round(each) for each in resting])
    feeder = Feeder(args.bootstrap, f"{name}-in")
    feeder.start()
    gaps: list[float] = []
    try:
        first_outputs(consumer, 0, None, 60)
        for number in range(1, args.rounds + 1):
            first_outputs(consumer, -1, {0}, 5)
            victim = workers(node)[number % 2]
            os.kill(victim.pid, signal.SIGKILL)
            killed = time.time()
            feeder.round = number
            seen = first_outputs(consumer, number, None, 30)
            gaps.append(max(at - killed for _, at in seen))
            print(f"round {number}: {gaps[-1]:.2f} s until all partitions gave output")
        print(f"median {statistics.median(gaps):.2f} s, most {max(gaps):.2f} s")
    finally:
        node.terminate()
        node.wait(30)


if __name__ == "__main__":
    main()
