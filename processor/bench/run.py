"""A benchmark run: an input that is there is worked through, then records come at a steady rate.

Owns the order of things, and that nothing of it is left behind.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice

from processor.bench.arrivals import Arrivals, stamped
from processor.bench.figures import Backlog, Figures, Latency, Sample
from processor.bench.usage import Usage
from processor.errors import WorkerFailed
from processor.kafka.clients import ClientConfig
from processor.kafka.progress import Backlog as Progress
from processor.kafka.transfer import OnProgress, Row, produce_rows
from processor.local.node_process import NodeProcess, logged
from processor.native.client import unused
from processor.topology.plan import Layout
from processor.trial.load import Load, rounds
from processor.trial.setup import make_topics, outputs_of, start_brokers
from processor.trial.site import Site
from processor.trial.trial import Trial
from processor.worker.effort import size_of

_TURN = 0.1
_WARM = 3.0
"""Seconds at the steady rate before latencies count."""

_STALLED = 90.0
_STOP_SECONDS = 60.0
_SHARE, _MOST = 5, 20_000
"""By default records come at this share of what the application can do, and no faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTrial(Trial):
    """A trial that is measured.

    Attributes:
        records: How many records of each input are there at the start.
        seconds: How long latency is measured; 0: not at all.
        rate: Records a second then, all topics together; None: a share of what it can do.
        nodes: How many.
    """

    records: int
    seconds: float
    rate: float | None
    nodes: int


class BenchRun:
    """One run.

    Args:
        trial: What is to be measured.
        bar: Shows how far a part of it is.
    """

    def __init__(
        self, trial: BenchTrial, bar: Callable[[str], AbstractContextManager[OnProgress]]
    ) -> None:
        self._trial = trial
        self._bar = bar
        self._nodes: list[NodeProcess] = []
        self._site: Site | None = None

    def run(self) -> Figures:
        """Does it all; whatever it started has ended then.

        Raises:
            UsageError: The topology's topics hold records already, or there is nothing to write.
            KafkaError: The topics don't fit, or Kafka does not answer.
            WorkerFailed: The topology does not run.
        """
        trial, settings = self._trial, self._trial.settings
        with ExitStack() as ending:
            if trial.embedded:
                kafka = trial.folder / "kafka"
                brokers, settings = start_brokers(kafka, trial.plan, settings, 1)
                ending.callback(brokers.close)
            ending.callback(self._kill)
            layout = make_topics(trial.plan, settings)
            client = settings.clients.kafka
            feeds = {topic: rounds(make, topic) for topic, make in trial.feeds.items()}
            self._fill(client, feeds)
            site = Site(trial.topology, settings, trial.folder)
            began = time.monotonic()
            self._nodes = [site.start_node(number + 1) for number in range(trial.nodes)]
            backlog = self._work_through(Progress(client, layout), began)
            latency, why = self._at_a_steady_rate(client, layout, feeds, backlog.rate)
            self._stop()
        folders = [site.state_of(number + 1) for number in range(trial.nodes)]
        return Figures(
            application=trial.plan.application,
            nodes=trial.nodes,
            slots=settings.slots,
            guarantee=settings.guarantee,
            native=not unused(settings.native),
            backlog=backlog,
            bad=sum(map(_bad_records, self._nodes)),
            state=sum(map(size_of, folders)),
            latency=latency,
            unmeasured=why,
        )

    def _fill(self, client: ClientConfig, feeds: Mapping[str, Iterator[Row]]) -> None:
        """Writes what is there at the start."""
        for topic, make in self._trial.tables.items():
            produce_rows(client, topic, make())
        count = self._trial.records
        for topic, rows in feeds.items():
            with self._bar(f"Writing {topic}") as report:
                produce_rows(client, topic, islice(rows, count), count, report)

    def _work_through(self, progress: Progress, began: float) -> Backlog:
        """Waits until everything that follows from the input is committed."""
        usage = Usage([node.pid for node in self._nodes])
        samples: list[Sample] = []
        moved = time.monotonic()
        with self._bar("Processing") as report:
            while True:
                ended = progress.look()
                now, done = time.monotonic(), progress.done_records
                moved = now if not samples or done != samples[-1].records else moved
                samples.append(Sample(now - began, done, usage.cpu(), usage.memory()))
                report(done, progress.input_records)
                if ended:
                    return Backlog(samples, progress.input_records)
                self._check(stalled=now - moved > _STALLED)
                time.sleep(_TURN)

    def _at_a_steady_rate(
        self,
        client: ClientConfig,
        layout: Layout,
        feeds: Mapping[str, Iterator[Row]],
        possible: float,
    ) -> tuple[Latency | None, str]:
        """The latency; or None, and why it is not known."""
        trial, outputs = self._trial, outputs_of(layout.plan, client)
        if not trial.seconds:
            return None, "it was not asked for"
        if not outputs:
            return None, "the topology writes to no topic that is known beforehand"
        rate = trial.rate or max(1.0, min(possible / _SHARE, _MOST))
        arrivals = Arrivals(client, outputs)
        loads = [
            Load(client, topic, rows, rate / len(feeds), stamped) for topic, rows in feeds.items()
        ]
        for load in loads:
            load.start()
        since = time.time() + _WARM
        with self._bar(f"Latency at {rate:,.0f} records/s") as report:
            while (left := since + trial.seconds - time.time()) > 0:
                self._check()
                for load in loads:
                    load.check()
                report(round(rate * (trial.seconds + _WARM - left)), None)
                time.sleep(_TURN)
        arrivals.stop()
        for load in loads:
            load.stop()
        found = arrivals.since(since)
        if not found:
            return None, "no result came that has the time of the records that it is made of"
        return Latency(rate, found), ""

    def _check(self, *, stalled: bool = False) -> None:
        for number, node in enumerate(self._nodes, 1):
            if node.exit_code is not None or stalled:
                ended = f"ended with exit code {node.exit_code}"
                does = f"committed nothing for {_STALLED:.0f} s though input was left"
                raise WorkerFailed(
                    f"node {number} {does if stalled else ended}; see whether `kproc run` works "
                    f"with this topology and input. The end of its log, {node.log}:\n"
                    f"{node.log_end()}"
                )

    def _stop(self) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            node.wait(_STOP_SECONDS)

    def _kill(self) -> None:
        for node in self._nodes:
            node.kill()


def _bad_records(node: NodeProcess) -> int:
    """As its log has them."""
    lines = logged(node.log)
    return max((int(line["bad_records"]) for line in lines if "bad_records" in line), default=0)
