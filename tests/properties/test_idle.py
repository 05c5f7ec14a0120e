"""Idle inputs: what they lead to is the same, wherever batches end and whatever is done again.

The reference interpreter knows no idle inputs; here a driver that works record by record stands for
it. In one task alone, as the order of several is not that of their records.
"""

from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from processor import Topology
from processor.records import Offset, Partition, TopicPartition
from processor.testing import TopologyDriver
from tests.properties import global_tables, joined, windows
from tests.properties.one_record import Raw
from tests.properties.test_equivalence import COMMON
from tests.properties.topologies import (
    STEPS,
    AnyStream,
    Checkpoint,
    Maker,
    Making,
    Pipe,
    records,
)
from tests.properties.world import letter
from tests.suites import examples


class Idle(NamedTuple):
    """Nothing comes for long."""


Script = list[Pipe | Checkpoint | Idle]


def _suppressed(making: Making, stream: AnyStream) -> list[AnyStream]:
    table = stream.to_table(name=making.name(), emit="change")
    held = table.suppress(until=0.007, max_records=3, name=making.name())
    return [held.to_stream()]


HOLDING: list[Maker] = [windows._windowed, windows._cogrouped, joined._stream_stream, _suppressed]


@st.composite
def holding(draw: st.DrawFn) -> Topology:
    """Steps that hold results back, behind the inputs or behind each other."""
    making = Making(draw)
    making.streams = [making.topology.stream(name) for name in ("in-a", "in-b")]
    for steps in [HOLDING, *draw(st.lists(st.sampled_from([HOLDING, STEPS]), max_size=2))]:
        making.streams += draw(st.sampled_from(steps))(making, making.stream())
    making.sinks()
    return making.topology


def scripts() -> st.SearchStrategy[Script]:
    pipes = st.builds(Pipe, st.integers(0, 2), st.lists(records(), min_size=1, max_size=6))
    return st.lists(st.one_of(pipes, pipes, st.just(Checkpoint()), st.just(Idle())), max_size=10)


class Runs:
    """One driver, and how far it goes at once."""

    def __init__(self, topology: Topology, *, plain: bool) -> None:
        self.driver = TopologyDriver(topology, auto_checkpoint=False)
        for table in self.driver._disk.tables.values():
            table.write(Partition(0), global_tables.CONTENTS, Offset(1))
        self.plain = plain

    def act(self, action: Pipe | Checkpoint | Idle) -> None:
        driver = self.driver
        match action:
            case Pipe(number, records):
                inputs = driver._layout.plan.inputs
                self.pipe(inputs[number % len(inputs)], records)
            case Checkpoint():
                driver.checkpoint()
            case Idle():
                driver.checkpoint()  # what came before it is not done again in another order
                driver.idle()
                if not self.plain:
                    driver.restart()
                    driver.idle()
                driver.checkpoint()

    def pipe(self, topic: str, records: list[Raw]) -> None:
        for record in records:
            self.driver._kafka.append(topic, None, record)
            if self.plain:
                self.driver._settle()
        self.driver._settle()

    def seen(self) -> tuple[object, ...]:
        """Committed stores, what is in the topics, and the dead letters."""
        driver, plan = self.driver, self.driver._layout.plan
        hidden = {plan.dead_letters}
        hidden |= {plan.changelog(spec.name) for part in plan.subtopologies for spec in part.stores}
        logs = {source: log.committed() for source, log in driver._kafka.logs.items()}
        written = {name: log for name, log in logs.items() if name.topic not in hidden and log}
        dead = logs.get(TopicPartition(plan.dead_letters, Partition(0)), [])
        stores = {name: dict(each.scan()) for name, each in driver._disk.stores.items()}
        return written, stores, [letter(each) for each in dead]


@settings(COMMON, max_examples=examples(30, 5_000))
@given(holding(), scripts())
def test_idle_inputs_lead_to_the_same(topology: Topology, script: Script) -> None:
    plain, rough = (Runs(topology, plain=each) for each in (True, False))
    plan = plain.driver._layout.plan
    assume(not plan.repartitions and len(plan.subtopologies) == 1)
    for action in [*script, Idle()]:
        plain.act(action)
        rough.act(action)
        if isinstance(action, Checkpoint | Idle):
            assert rough.seen() == plain.seen()
