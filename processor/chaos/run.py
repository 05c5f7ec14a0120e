"""A chaos run: an application of several nodes under load, faults on a schedule, and the ledger.

Owns the order of things, and that nothing of it is left behind. What is done when comes from
`chaos.schedule`, what is right from `chaos.reference`; here it happens.
"""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from processor.chaos.inspection import Inspection
from processor.chaos.operator import Operator
from processor.chaos.schedule import ALL, BROKER, Fault, Terms, schedule
from processor.chaos.setup import make_nodes, start_victims
from processor.chaos.standstill import Standstill
from processor.chaos.verdict import Happening, Report, Verdict
from processor.chaos.victims import ChaosBrokers, ChaosNode, Victim
from processor.chaos.witness import Witness
from processor.errors import WorkerFailed
from processor.kafka.registry import Registry
from processor.kafka.transfer import produce_rows
from processor.local.node_process import logged
from processor.settings import Settings
from processor.topology.plan import Layout
from processor.trial.load import Load, rounds
from processor.trial.setup import make_topics, outputs_of
from processor.trial.site import Site
from processor.trial.trial import Trial
from processor.worker.channel import ADOPTED

_TURN = 0.05
_SHOW = 0.25
_READY_SECONDS = 90.0
_STALLED_SECONDS = 90.0
"""Without any progress for so long while it is to drain, it is taken to have stopped for good."""

_STOP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosTrial(Trial):
    """A trial under faults.

    Attributes:
        terms: Of the schedule.
        rate: Records a second for each input topic.
        leave: Whether to leave the embedded Kafka running in the end.
    """

    terms: Terms
    rate: float
    leave: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for whoever shows it; times in milliseconds."""

    phase: str
    elapsed: int
    duration: int
    faults: int
    planned: int
    records_in: int
    records_out: int
    longest: Standstill | None
    victims: Sequence[tuple[str, str, int]]
    """Name, state and number of workers of each node, and of the broker if it is embedded; that of
    the operator while it acts."""


class Watcher(Protocol):
    """Shows what is going on."""

    def happened(self, happening: Happening) -> None:
        """Something happened."""

    def turn(self, progress: Progress) -> None:
        """Some time has passed."""

    def replayed(self, done: int, total: int) -> None:
        """So many of so many records went through the reference run."""


class ChaosRun:
    """One run; a context manager that ends whatever it started.

    Args:
        trial: What is to be done.
        watcher: Shows it.
    """

    def __init__(self, trial: ChaosTrial, watcher: Watcher) -> None:
        self.schedule = schedule(trial.terms)
        self.bootstrap = trial.settings.bootstrap
        self._trial = trial
        self._watcher = watcher
        self._happenings: list[Happening] = []
        self._problems: list[str] = []
        self._phase = "starting"
        self._began = time.monotonic()
        self._show_at = 0.0
        self._brokers: ChaosBrokers | None = None
        self._nodes: list[ChaosNode] = []
        self._operator: Operator | None = None
        self._loads: list[Load] = []
        self._witness: Witness | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self._nodes:
            node.kill()
        if self._brokers is not None:
            self._brokers.close(leave=self._trial.leave and error is None)

    def run(self) -> Report:
        """Does it all; Ctrl-C ends the faults early, a second one everything.

        Raises:
            UsageError: The topology's topics hold records already, or there is nothing to write.
            KafkaError: The topics don't fit, or Kafka does not answer.
            WorkerFailed: The topology does not run, even without a fault.
        """
        trial, settings = self._trial, self._trial.settings
        if trial.embedded:
            folder = trial.folder / "kafka"
            self._brokers, settings = start_victims(
                folder, trial.plan, settings, trial.terms.brokers, leave=trial.leave
            )
            self.bootstrap = settings.bootstrap
        layout = make_topics(trial.plan, settings)
        client = settings.clients.kafka
        for topic, make in trial.tables.items():
            produce_rows(client, topic, make())
        outputs = outputs_of(trial.plan, client)
        witness = self._witness = Witness(client, layout, outputs, lambda: self._now)
        site = Site(trial.topology, settings, trial.folder)
        self._nodes = make_nodes(site, trial.terms.nodes)
        others = [self._brokers] if self._brokers else []
        self._operator = Operator(site, layout, self._nodes, others, self._problems)
        self._loads = [
            Load(client, topic, rounds(make, topic), trial.rate)
            for topic, make in trial.feeds.items()
        ]
        for load in self._loads:
            load.start()
        self._await_start(witness)
        with contextlib.suppress(KeyboardInterrupt):
            self._carry_out()
        self._drain(witness)
        self._stop_nodes()
        return self._report(self._inspect(settings, layout, witness), witness)

    @property
    def _now(self) -> int:
        """Milliseconds since the beginning."""
        return round((time.monotonic() - self._began) * 1000)

    @property
    def _victims(self) -> dict[int, Victim]:
        victims: dict[int, Victim] = {node.number: node for node in self._nodes}
        if self._brokers is not None:
            victims[BROKER] = self._brokers
        if self._operator is not None:
            victims[ALL] = self._operator
        return victims

    def _await_start(self, witness: Witness) -> None:
        """Waits for records of each topic and the first checkpoint; begins to count the time."""
        deadline = time.monotonic() + _READY_SECONDS
        while not any(offset > 0 for offset in witness.committed.values()) or self._is_waiting:
            if self._is_waiting:
                deadline = time.monotonic() + _READY_SECONDS
            for node in self._nodes:
                code = node.process.exit_code
                if code is not None or time.monotonic() > deadline:
                    ended = f"ended with exit code {code}" if code is not None else "does nothing"
                    raise WorkerFailed(
                        f"node {node.number} {ended} before there was any fault; see whether "
                        f"`kproc run` works with this topology and load. The end of its log, "
                        f"{node.process.log}:\n{node.process.log_end()}"
                    )
            self._pass()
        self._phase = "faults"
        self._began = time.monotonic()
        witness.begin()

    @property
    def _is_waiting(self) -> bool:
        """Whether a topic has no record yet."""
        return not all(load.has_begun for load in self._loads)

    def _carry_out(self) -> None:
        """Carries the schedule out."""
        left = list(self.schedule)
        while self._now < self._trial.terms.duration:
            while left and left[0].at <= self._now:
                self._inflict(left.pop(0))
            self._turn(self._now)
            self._pass()

    def _inflict(self, fault: Fault) -> None:
        victims = self._victims
        victim = victims[ALL if fault.kind.is_operators else fault.node]
        spared = "" if victim.is_well else f" (spared: it is {victim.state})"
        if not victims[ALL].is_well:
            spared = " (spared: the operator is at work)"
        self._happened(f"{fault}{spared}", None if spared else fault)
        if not spared:
            victim.suffer(fault, self._now)

    def _turn(self, until: int) -> None:
        """Lets victims come back whose time has come until then."""
        for victim in self._victims.values():
            for text in victim.turn(until):
                self._happened(text)

    def _drain(self, witness: Witness) -> None:
        """Lets all victims come back, ends the load and waits until all is processed."""
        self._phase = "draining"
        while not all(victim.is_well for victim in self._victims.values()):
            self._turn(self._now + self._trial.terms.duration)
            self._pass()
        for load in self._loads:
            load.stop()
        looks, before = witness.looks, dict(witness.committed)
        deadline = time.monotonic() + _STALLED_SECONDS
        # The look under way may have begun before the last record was written.
        while not (witness.drained and witness.looks >= looks + 2):
            if witness.committed != before:
                before = dict(witness.committed)
                deadline = time.monotonic() + _STALLED_SECONDS
            if time.monotonic() > deadline:
                text = f"nothing was committed for {_STALLED_SECONDS:.0f} s though input was left"
                self._problems.append(text)
                return
            self._turn(self._now)
            self._pass()

    def _stop_nodes(self) -> None:
        self._phase = "stopping"
        self._pass()
        for node in self._nodes:
            node.process.terminate()
        for node in self._nodes:
            problem = node.finish(_STOP_SECONDS)
            if problem:
                self._problems.append(problem)
                node.kill()

    def _inspect(self, settings: Settings, layout: Layout, witness: Witness) -> Verdict:
        self._phase = "verifying"
        self._pass()
        witness.stop()
        registry = Registry(settings.schema_registry)
        client = settings.clients.kafka
        inspection = Inspection(client, layout, witness.reader, settings.options.alone(), registry)
        written = {load.topic: load.written for load in self._loads}
        resets = self._operator.resets if self._operator else ()
        verdict = inspection.judge(written, self._watcher.replayed, resets)
        return replace(verdict, problems=[*self._problems, *verdict.problems])

    def _report(self, verdict: Verdict, witness: Witness) -> Report:
        trial = self._trial
        logs = {node.process.log for node in self._nodes}
        return Report(
            seed=trial.terms.seed,
            seconds=self._now / 1000,
            nodes=trial.terms.nodes,
            schedule=self.schedule,
            happenings=self._happenings,
            records_in=sum(load.written for load in self._loads),
            records_out=self._records_out(witness),
            adoptions=sum(line.get("event") == ADOPTED for log in logs for line in logged(log)),
            longest=witness.longest,
            verdict=verdict,
        )

    def _records_out(self, witness: Witness) -> int:
        found = witness.reader.records
        return sum(found.get(topic, 0) for topic in self._trial.plan.outputs)

    def _happened(self, text: str, fault: Fault | None = None) -> None:
        happening = Happening(self._now, text, fault)
        self._happenings.append(happening)
        self._watcher.happened(happening)

    def _pass(self) -> None:
        """Shows how far it is, and lets a moment pass.

        Raises:
            KprocError: The load can't be written, or records not be read.
        """
        witness = self._witness
        assert witness is not None
        for load in self._loads:
            load.check()
        witness.check()
        if time.monotonic() >= self._show_at:
            self._show_at = time.monotonic() + _SHOW
            self._watcher.turn(self._progress(witness))
        time.sleep(_TURN)

    def _progress(self, witness: Witness) -> Progress:
        return Progress(
            phase=self._phase,
            elapsed=self._now,
            duration=self._trial.terms.duration,
            faults=sum(each.fault is not None for each in self._happenings),
            planned=len(self.schedule),
            records_in=sum(load.written for load in self._loads),
            records_out=self._records_out(witness),
            longest=witness.longest,
            victims=[
                (_name(number), victim.state, victim.workers)
                for number, victim in sorted(self._victims.items())
                if number != ALL or not victim.is_well
            ],
        )


def _name(number: int) -> str:
    return {ALL: "operator", BROKER: "brokers"}.get(number, f"node {number}")
