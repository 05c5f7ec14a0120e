"""How long partitions stand still while nodes come and go, with much state and steady load.

    uv run python -m tests.benchmarks.scaling [--cpus 0.5] [--keys 2000000] [--bootstrap HOST:PORT]
    uv run python -m tests.benchmarks.scaling --command "java ... peers.StreamsPeer" --settle 150

Counts by key on eight partitions, 2,000 records a second, four slots, no backups: 1, 2, 4, 1 nodes,
each in a container of its own (Docker, the host's network and files) with so much CPU. Another
command is given the variables PEER_... of the peers' harness, such as Kafka Streams there.

The figures: of each change of the number of nodes, the longest pause between two committed outputs
of a partition; of kproc by whether its slot moved. Every record written has to be counted once.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests import ledger
from tests.benchmarks.failover import Feeder, Reader
from tests.integration.watch import Watch

PROJECT = Path(__file__).parents[2]
PARTITIONS, SLOTS = 8, 4
PHASES = (2, 4, 1)
STEPS = ("fence", "catch_up", "join", "total")
KPROC = shlex.join(
    [
        sys.executable,
        "-c",
        "import sys; from processor.cli.main import main; sys.exit(main())",
        "run",
        str(PROJECT / "tests/benchmarks/peers_topology.py"),
        "--log-format=json",
    ]
)


class Scaling:
    """An application in some containers."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.name = f"scaling-{uuid.uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp())
        self.input, self.output = f"{self.name}-in", f"{self.name}-out"
        admin = AdminClient({"bootstrap.servers": args.bootstrap})
        topics = [NewTopic(topic, PARTITIONS, 1) for topic in (self.input, self.output)]
        for made in admin.create_topics(topics).values():
            made.result()
        self.running: list[str] = []
        self.started = 0

    def load(self) -> None:
        """Writes so many keys."""
        producer = Producer({"bootstrap.servers": self.args.bootstrap, "linger.ms": 20})
        for number in range(self.args.keys):
            key = f"key-{number:012}"
            while True:
                try:
                    producer.produce(self.input, b"1", key, number % PARTITIONS)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.flush()

    def start(self) -> None:
        """Starts one more node."""
        number, self.started = self.started, self.started + 1
        name = f"{self.name}-{number}"
        config = {
            "BOOTSTRAP": self.args.bootstrap,
            "INPUT": self.input,
            "OUTPUT": self.output,
            "GROUP": self.name,
            "WORKLOAD": "count",
            "GUARANTEE": "exactly-once",
            "COMMIT_MS": "100",
            "STATE_DIR": str(self.folder / str(number)),
            "PARTITIONS": str(PARTITIONS),
            "THREADS": str(self.args.threads),
            "CONFIG": self.args.config,
            "INSTANCE": str(number),
        }
        variables = [f"PEER_{each}={value}" for each, value in config.items()]
        inner = f"cd {PROJECT} && exec env {shlex.join(variables)} {self.args.command}"
        docker = ["docker", "run", "--detach", "--name", name, "--network=host"]
        mounts = ["--volume=/:/host", f"--cpus={self.args.cpus}", self.args.image]
        command = [*docker, *mounts, "chroot", "/host", "sh", "-c", inner]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.running.append(name)

    def stop(self) -> None:
        """Ends the one that was started last."""
        name = self.running.pop()
        command = ["docker", "stop", "--timeout=120", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def adoptions(self) -> list[str]:
        """What kproc's nodes have logged of their adoptions so far."""
        logged: list[str] = []
        for number in range(self.started):
            command = ["docker", "logs", f"{self.name}-{number}"]
            logs = subprocess.run(command, check=True, capture_output=True, text=True)
            lines = (logs.stdout + logs.stderr).splitlines()
            for line in (json.loads(each) for each in lines if each.startswith("{")):
                if line["event"] == "adopted":
                    steps = ", ".join(f"{each} {line[f'{each}_s']}" for each in STEPS)
                    logged.append(f"node {number}, slot {line['slot']}, {line['reason']}: {steps}")
        return logged

    def remove(self) -> None:
        """Removes all containers."""
        names = [f"{self.name}-{number}" for number in range(self.started)]
        subprocess.run(["docker", "rm", "--force", *names], check=False, stdout=subprocess.DEVNULL)

    def lag(self) -> int:
        """Records that are not committed."""
        found = ledger.committed(self.args.bootstrap, self.name, [self.input])
        ends = ledger.offsets(self.args.bootstrap, self.input)
        return sum(end - max(0, found[self.input, each]) for each, end in ends.items())


def scale(scaling: Scaling, nodes: int) -> None:
    """Starts or stops nodes, one right after the other, until there are so many."""
    while len(scaling.running) < nodes:
        scaling.start()
    while len(scaling.running) > nodes:
        scaling.stop()


def report(title: str, pauses: list[float]) -> None:
    if pauses:
        ranked = sorted(pauses)
        print(
            f"{title}: {len(ranked)} partitions, longest pause: median "
            f"{ranked[len(ranked) // 2]:.2f} s, most {ranked[-1]:.2f} s"
        )


def holders(watch: Watch | None) -> dict[int, str]:
    """Slot → node."""
    if watch is None:
        return {}
    watch.hear(1)
    return {slot: holder.node for slot, holder in watch.view.holders.items()}


def check(scaling: Scaling) -> None:
    """Each key's last count is how often it was written."""
    bootstrap = scaling.args.bootstrap
    written = Counter(row.key for row in ledger.read(bootstrap, scaling.input))
    rows = ledger.read(bootstrap, scaling.output)
    counted = {row.key: int(json.loads(row.value or b"0")) for row in rows}
    wrong = {
        key: (count, counted.get(key))
        for key, count in written.items()
        if counted.get(key) != count
    }
    assert not wrong, list(wrong.items())[:5]
    print(f"{sum(written.values()):,} records of {len(written):,} keys counted right")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--command", default=KPROC)
    parser.add_argument("--threads", type=int, default=SLOTS, help="of an instance; kproc: slots")
    parser.add_argument("--config", default="", help="for PEER_CONFIG")
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--cpus", default="0.5")
    parser.add_argument("--image", default="python:3.11-slim")
    parser.add_argument("--settle", type=float, default=45, help="seconds that a change is given")
    args = parser.parse_args()
    scaling = Scaling(args)
    try:
        scaling.load()
        scaling.start()
        while (lag := scaling.lag()) > 0:
            print(f"{lag:,} records to go", end="\r", flush=True)
            time.sleep(1)
        watch = Watch(args.bootstrap, scaling.name, SLOTS) if args.command == KPROC else None
        ends = ledger.offsets(args.bootstrap, scaling.output)
        feeder = Feeder(args.bootstrap, scaling.input, PARTITIONS)
        reader = Reader(args.bootstrap, scaling.output, PARTITIONS, ends)
        feeder.start()
        reader.start()
        time.sleep(10)
        nodes = 1
        for phase in PHASES:
            before, began = holders(watch), time.time()
            scale(scaling, phase)
            time.sleep(max(0.0, args.settle - (time.time() - began)))
            after = holders(watch)
            parts = range(PARTITIONS)
            slot_of = {part: part * SLOTS // PARTITIONS for part in parts}
            moved = {
                part for part in parts if before.get(slot_of[part]) != after.get(slot_of[part])
            }
            pauses = {part: reader.longest_pause(part, began, time.time()) for part in parts}
            title = f"{nodes} → {phase} nodes"
            if watch is None:
                report(title, list(pauses.values()))
            else:
                report(f"{title}, moved", [pauses[each] for each in moved])
                report(f"{title}, not moved", [pauses[each] for each in pauses.keys() - moved])
            nodes = phase
        feeder.stopped = True
        feeder.join()
        while scaling.lag() > 0:
            time.sleep(0.5)
        if watch is not None:
            print(*scaling.adoptions(), sep="\n")
        check(scaling)
    finally:
        scaling.remove()


if __name__ == "__main__":
    main()
