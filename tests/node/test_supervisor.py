"""What a supervisor makes of what its workers say, and of how they end, without processes."""

import os
from collections.abc import Callable, Iterable
from typing import IO, Any

import msgspec
import pytest

from processor import Topology
from processor.cluster.beats import Role
from processor.errors import (
    Fenced,
    Interrupted,
    KprocError,
    PermissionDenied,
    TransactionTimedOut,
    WorkerFailed,
)
from processor.node import supervisor as module
from processor.node.node import worker_spec
from processor.node.supervisor import Supervisor, Wanted
from processor.settings import Settings
from processor.topology.plan import Layout, plan
from processor.worker.channel import CRASHED, Failure, Log, Report, Status
from processor.worker.spec import WorkerSpec
from processor.worker.standstill import Standstill

PRIMARY, BACKUP = Wanted("primary", 1), Wanted("backup")


class Process:
    """A worker that says and does what the test wants."""

    pid = 4711

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.asked: list[str] = []
        self.code = 0
        read, self._write = os.pipe()
        self.reports: IO[bytes] = os.fdopen(read, "rb", 0)

    def says(self, report: Report) -> None:
        os.write(self._write, msgspec.json.encode(report) + b"\n")

    def ends(self, code: int) -> None:
        self.code = code
        os.close(self._write)

    def wait(self) -> int:
        self.reports.close()
        return self.code

    def adopt(self) -> None:
        self.asked.append("adopt")

    def ask_to_finish(self) -> None:
        self.asked.append("finish")

    def ask_where(self) -> None:
        self.asked.append("where")

    def answer(self) -> Standstill | None:
        return None

    def end_input(self, topics: Iterable[str]) -> None:
        self.asked.append(f"ended {' '.join(topics)}")

    def kill(self) -> None:
        if "killed" not in self.asked:
            self.asked.append("killed")
            self.ends(-9)


class Pool:
    """Where they come from."""

    def __init__(self) -> None:
        self.taken: list[Process] = []
        self.closed = False

    def take(self, spec: WorkerSpec) -> Process:
        self.taken.append(Process(spec))
        return self.taken[-1]

    def keep(self, _count: int) -> list[int]:
        return []

    def close(self) -> None:
        self.closed = True


class Node:
    """A supervisor, its workers, and a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, restart: bool = True) -> None:
        self.now = 1000.0
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        self.pool: Any = Pool()
        self.heard: list[Report] = []
        self.supervisor = Supervisor(
            self._spec,
            self.pool,
            restart=restart,
            restart_stuck=True,
            silent_after=1.0,
            on_report=self.heard.append,
        )

    def wants(self, **roles: Wanted) -> None:
        self.wanted = {int(slot.removeprefix("s")): role for slot, role in roles.items()}
        self.supervisor.want(self.wanted)

    def turns(self, seconds: float = 0.0) -> bool:
        """A turn, so many seconds later; then it is said again which roles are wanted."""
        self.now += seconds
        goes_on = self.supervisor.turn(0)
        self.supervisor.want(self.wanted)
        return goes_on

    def fails(self, process: Process, failure: Failure) -> None:
        """A worker says why it ends, and does."""
        process.says(failure)
        self.turns()
        process.ends(2)
        self.turns()

    @property
    def worker(self) -> Process:
        return self.pool.taken[-1]

    @property
    def states(self) -> list[str]:
        return [each.state for each in self.supervisor.replicas]

    @property
    def crashes(self) -> list[Log]:
        logs = (each for each in self.heard if isinstance(each, Log))
        return [log for log in logs if log.event == CRASHED]

    def _spec(self, slot: int, role: Role) -> WorkerSpec:
        topology = Topology("app")
        topology.stream("in").to("out")
        layout = Layout(plan(topology), {"in": 2})
        settings = Settings(bootstrap="127.0.0.1:1", slots=2)
        return msgspec.structs.replace(
            worker_spec("topology.py", layout, settings, slot), role=role
        )


MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(monkeypatch: pytest.MonkeyPatch) -> MakeNode:
    return lambda **options: Node(monkeypatch, **options)


def failure(error: type[KprocError], text: str = "why") -> Failure:
    return Failure(0, error.__name__, text)


def test_a_wanted_slot_gets_a_process_in_its_role(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=PRIMARY, s1=BACKUP)
    roles = [(each.spec.slot, each.spec.role) for each in node.pool.taken]
    assert roles == [(0, "primary"), (1, "backup")]
    assert node.states == ["starting", "starting"]
    node.pool.taken[0].says(Status(0, "running", partitions=1))
    node.turns()
    assert node.states == ["running", "starting"]


def test_a_backup_is_promoted_where_it_is(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    node.wants(s0=PRIMARY)
    assert len(node.pool.taken) == 1
    assert node.worker.asked == ["adopt"]


@pytest.mark.parametrize("after", [{}, {"s0": BACKUP}], ids=["nothing", "a backup"])
def test_a_primary_that_is_none_any_more_finishes(
    after: dict[str, Wanted], make_node: MakeNode
) -> None:
    node = make_node()
    node.wants(s0=PRIMARY)
    first = node.worker
    node.wants(**after)
    assert first.asked == ["finish"]
    first.ends(3)  # however it ends
    node.turns()
    assert len(node.pool.taken) == 1 + len(after)
    assert not node.crashes


def test_one_that_does_not_finish_is_killed(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=PRIMARY)
    node.wants()
    node.turns(6.0)
    assert node.worker.asked == ["finish", "killed"]


def test_a_backup_that_crashed_starts_again_at_once(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    node.worker.ends(-11)
    node.turns()
    assert len(node.pool.taken) == 2
    assert node.crashes[0].fields["cause"] == "its process ended with SIGSEGV"


def test_a_primary_that_crashed_needs_a_new_claim(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=PRIMARY)
    node.worker.ends(1)
    node.turns()
    assert (len(node.pool.taken), node.states) == (1, ["crashed"])
    node.wants(s0=Wanted("primary", 2))
    assert len(node.pool.taken) == 2


@pytest.mark.parametrize("error", [Interrupted, Fenced])
def test_what_passes_is_tried_again_with_growing_pauses(
    error: type[KprocError], make_node: MakeNode
) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    for _ in range(4):
        node.fails(node.worker, failure(error))
        node.turns(10.0)
    pauses = [float(log.fields["pause_s"]) for log in node.crashes]
    assert pauses == sorted(pauses)
    assert (pauses[0] == 0.0) == (error is Fenced)


@pytest.mark.parametrize(
    ("error", "restart"), [(PermissionDenied, True), (WorkerFailed, False)], ids=["lasts", "set so"]
)
def test_what_does_not_pass_ends_the_node(
    error: type[KprocError], make_node: MakeNode, *, restart: bool
) -> None:
    node = make_node(restart=restart)
    node.wants(s0=BACKUP, s1=BACKUP)
    other = node.worker
    node.fails(node.pool.taken[0], failure(error))
    assert other.asked == ["finish"]
    other.ends(0)
    with pytest.raises(error, match="why"):
        node.turns()
    assert node.pool.closed


def test_too_many_crashes_end_the_node(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    for _ in range(4):
        node.worker.ends(1)
        node.turns(1.0)
    node.worker.ends(1)
    with pytest.raises(WorkerFailed, match="crashed 5 times within 60 s"):
        node.turns()


def test_crashes_far_apart_do_not(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    for _ in range(8):
        node.worker.ends(1)
        node.turns(20.0)
    assert node.states == ["starting"]


def test_records_of_which_one_is_too_slow_are_suspects(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    for _ in range(2):
        node.fails(node.worker, Failure(0, TransactionTimedOut.__name__, "slow", records=7))
        node.turns(10.0)
        assert node.worker.spec.suspects == 7
    with pytest.raises(WorkerFailed, match="ended 3 times at the same: slow"):
        node.fails(node.worker, Failure(0, TransactionTimedOut.__name__, "slow", records=1))


def test_a_silent_worker_is_asked_what_it_is_at_and_killed(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    for _ in range(57):
        node.turns(0.5)
    assert (node.states, node.worker.asked) == (["silent"], ["where"])
    for _ in range(5):
        node.turns(0.5)
    assert node.pool.taken[0].asked == ["where", "killed"]
    assert len(node.pool.taken) == 2


def test_a_supervisor_that_slept_does_not_take_that_for_silence(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    node.turns(3600.0)
    assert node.worker.asked == []


def test_reports_may_come_in_parts(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=BACKUP)
    line = msgspec.json.encode(Status(0, "ready")) + b"\n"
    os.write(node.worker._write, line[:10])
    node.turns()
    assert node.states == ["starting"]
    os.write(node.worker._write, line[10:])
    node.turns()
    assert node.states == ["ready"]


def test_primaries_hear_of_an_end_until_they_have_reported_it(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=PRIMARY, s1=BACKUP)
    assert not node.supervisor.end_input(["in"])
    node.pool.taken[0].says(Status(0, "running", reported=1))
    node.turns()
    assert node.supervisor.end_input(["in"])
    assert [each.asked for each in node.pool.taken] == [["ended in"], []]


def test_it_stops_when_all_have_finished(make_node: MakeNode) -> None:
    node = make_node()
    node.wants(s0=PRIMARY)
    node.supervisor.stop()
    assert not node.supervisor.may_claim(0)
    assert (node.worker.asked, node.turns()) == (["finish"], True)
    node.worker.ends(0)
    assert not node.turns()
