"""One query on one system, from its start until its results are compared.

Owns the events in Kafka. Knows nothing of how a system is started, or of what is right.
"""

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from processor.loading import load
from processor.topology.plan import plan
from tests import ledger
from tests.benchmarks.nexmark import recomputed
from tests.benchmarks.nexmark.checks import difference
from tests.benchmarks.nexmark.events import BEGIN, PER_SECOND, events
from tests.benchmarks.nexmark.inputs import BIDS, output, produce, produce_later
from tests.benchmarks.nexmark.systems import SYSTEMS, Job
from tests.benchmarks.progress import Progress, Stretch, stretch, watch
from tests.benchmarks.systems import running

_UNCHECKED: Final = 6
_CLOSED_AFTER: Final = {5: 2.0, 7: 2.0, 12: 16.0}
"""Queries that emit when windows close: the seconds until the records come which do it.

Kafka Streams looks once a second what is to be closed; query 12 goes by the wall clock.
"""
_LATER_MS: Final = 30_000


class Events:
    """The events in Kafka, and what there are."""

    def __init__(self, kafka: str, count: int, partitions: int) -> None:
        self.partitions = partitions
        self.log = recomputed.log(events(count))
        self._counts = produce(kafka, events(count), partitions)
        self._kafka = kafka
        self._end = BEGIN + count * 1000 // PER_SECOND

    def count(self, topics: Iterable[str]) -> int:
        """How many records the topics have."""
        return sum(self._counts[topic] for topic in topics)

    def close_windows(self) -> None:
        """Adds bids that are later than all before; part of the input from then on."""
        self._end += _LATER_MS
        later = produce_later(self._kafka, self.partitions, self._end)
        self.log.bids.extend(later)
        self._counts[BIDS] += len(later)


def measure(system: str, job: Job, events: Events) -> Stretch:
    """Runs a query on the events.

    Raises:
        RuntimeError: It failed, or its results are wrong.
    """
    inputs = plan(load(f"tests.benchmarks.nexmark.queries:q{job.number}")).inputs
    target = output(f"q{job.number}", job.run)
    ledger.create(job.kafka, {target: events.partitions})
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = SYSTEMS[system].command(job, folder)
        try:
            with running(command, os.environ | {"NEXMARK_RUN": job.run}, log) as process:
                found = _work(process, job, events, inputs)
        except RuntimeError as error:
            raise RuntimeError(f"{job.application}: {error}\n{log.read_text()[-3000:]}") from error
    if wrong := _wrong(job, events, ledger.read(job.kafka, target)):
        raise RuntimeError(f"{job.application}: {wrong}")
    made = ledger.admin(job.kafka).list_topics(timeout=30).topics
    ledger.delete(job.kafka, [each for each in made if each.startswith(f"{job.application}-")])
    return found


def _work(process: psutil.Popen, job: Job, events: Events, inputs: Iterable[str]) -> Stretch:
    progress = Progress(job.kafka, job.application, inputs)
    found = stretch(list(watch(process, progress, events.count(inputs))))
    if pause := _CLOSED_AFTER.get(job.number):
        time.sleep(pause)
        events.close_windows()
        list(watch(process, progress, events.count(inputs)))
    return found


def _wrong(job: Job, events: Events, rows: list[ledger.Row]) -> str:
    if job.number == _UNCHECKED:
        return ""
    log = events.log
    if job.number in _CLOSED_AFTER:  # the windows of the last bids are open
        last = log.bids[-1].date_time
        log = log._replace(bids=[bid for bid in log.bids if bid.date_time < last])
    return difference(job.number, log, rows)
