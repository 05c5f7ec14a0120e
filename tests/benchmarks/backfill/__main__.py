"""How many records of a backfill are called late behind a repartition: kproc and Kafka Streams.

200,000 records of 2.3 days, in the order of their times in each of 4 partitions, all there at the
start; grouped by another key, and counted by day with a grace of an hour. None of them is late.

    python -m tests.benchmarks.backfill [--system kproc kafka-streams] [--slots 1 2 4] [--rounds 3]

Kafka Streams needs a JDK 17 and Maven. Prints a table: of how many records each run says that they
were late.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from processor.local.embedded import EmbeddedKafka
from tests import ledger
from tests.benchmarks import systems

COUNT, PARTITIONS, STEP, FIRST = 200_000, 4, 994, 1_500_000_000_000
TOPOLOGY = """
from processor import Topology, tumbling
topology = Topology({application!r})
stream = topology.stream({topic!r}, value=str)
windows = stream.group_by(lambda value: value, name="other").window(tumbling("1d", grace="1h"))
windows.count(name="counts").to({output!r})
"""


def feed(kafka: str, topic: str) -> None:
    """Writes the input."""
    ledger.create(kafka, {topic: PARTITIONS})
    rows = (
        (number % PARTITIONS, f"k{number}", f"o{number * 7919 % 50}", FIRST + number * STEP)
        for number in range(COUNT)
    )
    ledger.write(kafka, topic, rows)


def kproc(kafka: str, topic: str, run: str, slots: int, folder: Path) -> int:
    """Late records, by the log."""
    output = f"{run}-out"
    ledger.create(kafka, {output: PARTITIONS})
    file = folder / "topology.py"
    file.write_text(TOPOLOGY.format(application=run, topic=topic, output=output))
    options = ["--until-end", "--no-show", "--log-format=json", f"--bootstrap={kafka}"]
    sets = [f"--set=slots={slots}", "--set=idle_timeout=1h", f"--set=state_dir={folder / 'state'}"]
    command = systems.kproc(str(file), *options, *sets)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = (json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
    late = [line for line in lines if line["event"] == "late records"]
    counted = sum(int(row.value or b"0") for row in ledger.read(kafka, output))
    found = sum(line["late"] for line in late)
    assert counted + found == COUNT, f"{counted} counted, {found} late"
    return found


def kafka_streams(kafka: str, topic: str, run: str, slots: int, folder: Path) -> int:
    """Late records, by its metric dropped-records-total."""
    given = [kafka, topic, run, str(slots), str(folder / "state"), str(COUNT)]
    command = systems.kafka_streams("backfill.Backfill", *given, log="error")
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return int(done.stdout.rpartition("late=")[2])


SYSTEMS = {systems.KPROC: kproc, systems.KAFKA_STREAMS: kafka_streams}


def main() -> None:
    """Runs everything in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--system", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--slots", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if systems.KAFKA_STREAMS in given.system:
        systems.build_kafka_streams()
    with (
        tempfile.TemporaryDirectory() as scratch,
        EmbeddedKafka.start(Path(scratch) / "kafka", port=0, config={}, timeout=180) as broker,
    ):
        feed(broker.bootstrap, "backfill")
        print(
            "| system | slots or threads | late, of 200,000 | seconds |\n| --- | --- | --- | --- |"
        )
        for slots in given.slots:
            for number in range(given.rounds):
                for name in given.system:
                    run, began = f"{name}-{slots}-{number}", time.monotonic()
                    folder = Path(scratch) / run
                    folder.mkdir()
                    late = SYSTEMS[name](broker.bootstrap, "backfill", run, slots, folder)
                    took = time.monotonic() - began
                    print(f"| {name} | {slots} | {late:,} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
