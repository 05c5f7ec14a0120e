"""What a repartition, and state, costs here and in another checkout: processor time and rate.

    python -m tests.benchmarks.repartition --other ../before [--set max_task_idle=]
        [--jobs count] [--partitions 4 64] [--rounds 3]

Records in the order of their times go through a repartition by another key to a sum by window, to a
count, or to nothing but a topic; or without one to a map, or to sums that are kept as dicts or as
objects. Both checkouts run in turn on the same broker, each in its own
environment (`uv run --project`); only the ratios count. `--other . --set max_task_idle=` is what it
costs to keep time behind repartitions.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from processor.edges.embedded import EmbeddedKafka
from tests import ledger

COUNT, STEP, FIRST = 1_000_000, 10, 1_500_000_000_000
JOBS = {
    "windowed sum": "stream.group_by('other', name='other').window(tumbling('10s', grace='1s'))"
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


def feed(kafka: str, topic: str, partitions: int) -> None:
    """Writes the input."""
    ledger.create(kafka, {topic: partitions})
    value = '{"other":"o%d","amount":%d}'
    rows = (
        (number % partitions, f"k{number}", value % (number * 7919 % 5000, number % 1000), time_of)
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


def run(project: Path, file: Path, kafka: str, state: Path, sets: list[str]) -> tuple[float, float]:
    """Processor seconds and seconds for all of the input."""
    options = ["--until-end", "--no-show", f"--bootstrap={kafka}", f"--set=state_dir={state}"]
    command = ["uv", "run", "--project", str(project), "kproc", "run", str(file), *options]
    began, cpu = time.monotonic(), 0.0
    log = state.with_suffix(".log")
    # Elsewhere: workers take the package of the folder in which they are started.
    with log.open("w") as output:
        process = psutil.Popen(
            [*command, "--set=slots=2", *(f"--set={each}" for each in sets)],
            cwd=state.parent,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    while process.poll() is None:
        cpu = max(cpu, cpu_of(process))
        time.sleep(0.05)
    assert process.returncode == 0, log.read_text()[-2000:]
    return cpu, time.monotonic() - began


def main() -> None:
    """Runs everything in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--set", nargs="+", default=[], help="settings of the other one alone")
    parser.add_argument("--partitions", nargs="+", type=int, default=[4, 64])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sides = (("here", Path(__file__).parents[2], []), ("other", given.other, given.set))
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedKafka.start(Path(scratch) / "kafka", port=0, config={}, timeout=180) as broker,
    ):
        kafka = broker.bootstrap
        print("| job | partitions | CPU s here, other | ratio | seconds here, other | ratio |")
        print("| --- | --- | --- | --- | --- | --- |")
        for partitions in given.partitions:
            topic = f"input-{partitions}"
            feed(kafka, topic, partitions)
            for job in given.jobs:
                found: dict[str, list[tuple[float, float]]] = {"here": [], "other": []}
                for number in range(given.rounds):
                    for name, project, sets in sides:
                        made = f"{job.replace(' ', '-')}-{partitions}-{number}-{name}"
                        ledger.create(kafka, {f"{made}-out": partitions})
                        file = Path(scratch) / f"{made}.py"
                        text = TOPOLOGY.format(
                            out=f"{made}-out", run=made, topic=topic, job=JOBS[job]
                        )
                        file.write_text(text)
                        found[name].append(run(project, file, kafka, Path(scratch) / made, sets))
                cpu, took = ([min(x[n] for x in found[name]) for name in found] for n in (0, 1))
                print(
                    f"| {job} | {partitions} | {cpu[0]:.2f}, {cpu[1]:.2f} | {cpu[0] / cpu[1]:.2f} |"
                    f" {took[0]:.1f}, {took[1]:.1f} | {took[0] / took[1]:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
