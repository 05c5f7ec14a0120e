"""How long a slot stands still when its primary is killed and a warm backup is asked to adopt it.

    uv run python -m tests.benchmarks.adoption [--rounds 20] [--seed 1] [--bootstrap ADDRESS]

One slot with four partitions counts 2,000 records a second. In each round the primary is killed
with SIGKILL at a seeded moment, a transaction open as a rule, and the backup, which has a state
folder of its own, is asked to adopt at once: detection is not measured. `first` and `all` are the
times from the kill to the first committed output of any and of each partition that was made of a
record written after the kill. A single system is measured, nothing compared.
"""

import argparse
import random
import signal
import statistics
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil
from msgspec import structs

from processor.cluster.beats import Role
from processor.loading import load
from processor.node.node import worker_spec
from processor.node.setup import prepare
from processor.settings import Settings
from processor.topology.plan import plan
from tests import ledger
from tests.benchmarks.failover import PARTITIONS, TOPOLOGY, Feeder, Reader
from tests.crashes.application import WorkerProcess

STEPS = ("fence_s", "catch_up_s", "join_s", "total_s", "first", "all")


class Pair:
    """A primary and its backup, which has another folder."""

    def __init__(self, kafka: str, name: str, folder: Path) -> None:
        file = folder / "counting.py"
        file.write_text(TOPOLOGY.format(name=name))
        settings = Settings(bootstrap=kafka, slots=1, replication_factor=1)
        layout = prepare(plan(load(str(file))), settings)
        self._spec = worker_spec(str(file), layout, settings, 0)
        self._folders = [str(folder / "one"), str(folder / "other")]
        self.primary = self._start("primary")
        self.primary.await_state("running")
        self.backup = self._start("backup")

    def _start(self, role: Role) -> WorkerProcess:
        self._folders.reverse()
        return WorkerProcess(structs.replace(self._spec, role=role, state_dir=self._folders[0]), {})

    def change(self) -> float:
        """Kills the primary and has the backup adopt; the time of the kill."""
        self.primary.process.send_signal(signal.SIGKILL)
        killed = time.time()
        self.backup.adopt()
        return killed

    def renew(self) -> None:
        """Gives the new primary a backup, in the folder of the one before."""
        self.primary.wait()
        self.primary, self.backup = self.backup, self._start("backup")

    def end(self) -> None:
        """Ends both."""
        for worker in (self.primary, self.backup):
            worker.process.kill()
            worker.wait()


def one_round(pair: Pair, reader: Reader, feeder: Feeder, number: int) -> Mapping[str, float]:
    """The seconds of each step of one adoption."""
    killed = pair.change()
    feeder.round = number
    seen = [at - killed for at in reader.await_first(number).values()]
    steps = pair.backup.await_log("adopted")
    return {**steps, "first": min(seen), "all": max(seen)}


def cost(pair: Pair, seconds: float) -> str:
    """What primary and backup use."""
    processes = [psutil.Process(each.process.pid) for each in (pair.primary, pair.backup)]
    for each in processes:
        each.cpu_percent()
    time.sleep(seconds)
    shares = [f"{each.cpu_percent():.1f} %" for each in processes]
    memory = [f"{each.memory_info().rss / 2**20:.0f} MB" for each in processes]
    return f"primary {shares[0]} of a core, {memory[0]}; backup {shares[1]}, {memory[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    name = f"adoption-{uuid.uuid4().hex[:8]}"
    ledger.create(args.bootstrap, {f"{name}-in": PARTITIONS, f"{name}-out": PARTITIONS})
    pair = Pair(args.bootstrap, name, Path(tempfile.mkdtemp()))
    reader = Reader(args.bootstrap, f"{name}-out")
    reader.start()
    feeder = Feeder(args.bootstrap, f"{name}-in")
    rounds: list[Mapping[str, float]] = []
    try:
        pair.backup.await_state("ready")
        print("without load:", cost(pair, 5))
        feeder.start()
        reader.await_first(0)
        print("with 2,000 records/s:", cost(pair, 5))
        for number in range(1, args.rounds + 1):
            time.sleep(3 + chance.random())
            pair.backup.await_state("ready")
            rounds.append(one_round(pair, reader, feeder, number))
            print(number, {step: round(rounds[-1][step], 3) for step in STEPS})
            pair.renew()
    finally:
        pair.end()
    for step in STEPS:
        values = sorted(each[step] for each in rounds)
        p95 = values[max(0, -(-len(values) * 95 // 100) - 1)]
        print(
            f"{step:>10}: median {statistics.median(values):.3f} s, "
            f"p95 {p95:.3f} s, most {values[-1]:.3f} s"
        )


if __name__ == "__main__":
    main()
