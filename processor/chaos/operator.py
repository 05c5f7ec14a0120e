"""The operator of a chaos run: does to the application what people do, with the tools they have.

Each act is a procedure of several steps, which is carried on turn by turn, and ends with all nodes
at work again. What has to be refused on the way is checked here: that is part of the verdict.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.admin.resetting import delete_before
from processor.chaos.resets import Reset
from processor.chaos.schedule import Fault
from processor.chaos.victims import ChaosNode, Victim
from processor.errors import Fenced, StateError, StateMismatch
from processor.kafka.clients import admin_client, committed_by, translated
from processor.kafka.progress import list_offsets, partitions
from processor.local.node_process import NodeProcess
from processor.records import Offset, TopicPartition
from processor.topology.plan import Layout
from processor.trial.site import Site

Steps: TypeAlias = Iterator[str]
"""An act, carried on turn by turn: a text says what was done, an empty one that it waits."""

_PATIENCE = 120.0
"""Seconds that each step may take, on a machine that does much else at the same time."""

_SUPERVISOR_SLEEPS = 0.6
"""Seconds for which workers that woke up have nobody who notices what has happened."""

_SETTLING = 2.0
_SPARE_SLOTS = 2
_REFUSED = "state is not complete"
_LOG_END = 2_000


class Operator:
    """A person with the application's commands, and Kafka's tools.

    Args:
        site: Where the application is.
        layout: Its plan and partition counts.
        nodes: Its nodes.
        others: Who else has to be well before anything begins.
        problems: Where it is noted what went wrong.
    """

    def __init__(
        self,
        site: Site,
        layout: Layout,
        nodes: Sequence[ChaosNode],
        others: Sequence[Victim],
        problems: list[str],
    ) -> None:
        self._site = site
        self._plan = layout.plan
        self._partitions = layout.partitions
        self._sources = partitions(layout.partitions)
        self._nodes = nodes
        self._everybody: Sequence[Victim] = (*nodes, *others)
        self._problems = problems
        self._slots = layout.slots
        self._most_slots = layout.slots + _SPARE_SLOTS
        self._admin: Any = admin_client(site.settings.clients.kafka)
        self._steps: Steps | None = None
        self.resets: list[Reset] = []
        """Those that were made, for the comparison."""

    @property
    def state(self) -> str:
        """One word for a person."""
        return "running" if self._steps is None else "at work"

    @property
    def workers(self) -> int:
        """None."""
        return 0

    @property
    def is_well(self) -> bool:
        """Whether it is at rest."""
        return self._steps is None

    def suffer(self, fault: Fault, now: int) -> None:  # noqa: ARG002 - a victim's interface
        """Begins an act."""
        self._steps = self._acting(fault)

    def turn(self, now: int) -> Iterator[str]:  # noqa: ARG002 - a victim's interface
        """Carries it on."""
        if self._steps is None:
            return
        text = next(self._steps, None)
        if text is None:
            self._steps = None
        elif text:
            yield text

    def _acting(self, fault: Fault) -> Steps:
        # What befell them before is over first: these acts are for an application at rest.
        yield from self._until(lambda: all(each.is_well for each in self._everybody), "all is well")
        choice = fault.choice
        match fault.kind:
            case ("delete", "group"):
                yield from self._while_stopped(self._delete_group())
            case ("rescale", "slots"):
                yield from self._while_stopped(self._rescale(choice))
            case ("rescale", "sleeper"):
                yield from self._while_asleep(fault, self._rescale(choice))
            case ("truncate", "changelog"):
                yield from self._while_stopped(self._truncate(choice))
            case ("reset", "state"):
                yield from self._while_stopped(self._reset(choice))
            case ("reset", "sleeper"):
                yield from self._while_asleep(fault, self._reset(choice))
            case _:
                yield from self._copy_folder(self._nodes[fault.node - 1], choice)

    # -- who is at work meanwhile

    def _while_stopped(self, act: Steps) -> Steps:
        yield from self._stop(self._nodes)
        yield "all nodes have finished"
        yield from act
        self._start(self._nodes)
        yield "all nodes are started again"

    def _while_asleep(self, fault: Fault, act: Steps) -> Steps:
        """A node sleeps through it, and has to find out when it wakes up, alone or beside heirs."""
        sleeper = self._nodes[fault.node - 1]
        others = [node for node in self._nodes if node is not sleeper]
        heirs = others if fault.choice % 2 else []
        sleeper.hold()
        sleeper.process.suspend()
        yield f"node {sleeper.number} sleeps"
        yield from self._stop(others)
        yield from act
        self._start(heirs)
        if heirs:
            yield "the others are started again"
        yield from self._pause(fault.lasts / 1000)
        with contextlib.suppress(psutil.NoSuchProcess):
            for worker in sleeper.process.workers:
                worker.resume()
        yield f"node {sleeper.number} wakes up, its workers first"
        yield from self._pause(_SUPERVISOR_SLEEPS)
        sleeper.process.resume()
        yield from self._await_end(sleeper.process, sleeper.process.log, StateMismatch.exit_code)
        self._start(node for node in self._nodes if node not in heirs)
        yield "all nodes are at work again"

    def _stop(self, nodes: Sequence[ChaosNode]) -> Steps:
        for node in nodes:
            node.hold()
            node.process.terminate()
        yield from self._until(lambda: len(_ended(nodes)) == len(nodes), "all nodes finish")
        for node in nodes:
            problem = node.finish(0)
            if problem:
                self._problems.append(problem)
                node.process.kill()

    def _start(self, nodes: Iterator[ChaosNode] | Sequence[ChaosNode]) -> None:
        for node in nodes:
            if node.process.exit_code is not None:
                node.start()
            node.release()

    # -- the acts

    def _rescale(self, choice: int) -> Steps:
        others = [count for count in range(1, self._most_slots + 1) if count != self._slots]
        slots = others[choice % len(others)]
        yield from self._command("rescale", "--slots", str(slots))
        self._slots = slots
        self._site.settle(self._site.settings.model_copy(update={"slots": slots}))

    def _reset(self, choice: int) -> Steps:
        """Of everything, with the stores on disks or without: those have to be dropped then."""
        # Never the folder that the settings name: that may be where the application really lives.
        machine = self._site.folder if choice // 4 % 2 else self._site.folder / "elsewhere"
        to = "beginning" if choice // 2 % 2 else "end"
        until = self._committed()
        ends = list_offsets(self._admin, self._sources, OffsetSpec.latest())
        yield from self._command("reset", "--to", to, "--set", f"state_dir={machine}")
        self.resets.append(Reset(until, ends, self._committed()))

    def _committed(self) -> dict[TopicPartition, Offset]:
        client = self._site.settings.clients.kafka
        found = committed_by(client, self._plan.application, self._sources)
        return {source: Offset(max(0, each.offset)) for source, each in found.items()}

    def _delete_group(self) -> Steps:
        """As when its offsets expire."""
        group = self._plan.application

        def is_deleted() -> bool:
            try:
                self._admin.delete_consumer_groups([group])[group].result(30)
            except KafkaException as error:
                if error.args[0].code() != ClientError.NON_EMPTY_GROUP:
                    raise translated(error, f"delete the group {group}") from error
                return False  # its members are not forgotten yet
            return True

        yield from self._until(is_deleted, f"the group {group} is deleted")
        yield f"the group {group} is deleted"

    def _truncate(self, choice: int) -> Steps:
        """Deletes records of a changelog; nobody without the whole store may go on then."""
        stores = [spec.name for part in self._plan.subtopologies for spec in part.stores]
        name = stores[choice % len(stores)]
        changelog = self._plan.changelog(name)
        share = (1, 1, 0.5)[choice % 3]
        count = next(
            max(self._partitions[topic] for topic in part.topics)
            for part in self._plan.subtopologies
            if name in {spec.name for spec in part.stores}
        )
        sources = partitions({changelog: count})
        firsts = list_offsets(self._admin, sources, OffsetSpec.earliest())
        ends = list_offsets(self._admin, sources, OffsetSpec.latest())
        before = {
            each: Offset(first + round((ends[each] - first) * share))
            for each, first in firsts.items()
        }
        delete_before(self._admin, before, [changelog])
        gone = sum(offset - firsts[each] for each, offset in before.items())
        yield f"{gone} records of {changelog} are deleted"
        if choice // 3 % 2 and gone and not self._site.settings.snapshot_url:
            yield from self._without_stores()

    def _without_stores(self) -> Steps:
        """Starts nodes that have no stores: they have to refuse; then the stores are back."""
        folders = [self._site.state_of(node.number) for node in self._nodes]
        kept = [folder.rename(folder.with_name(f"{folder.name}-kept")) for folder in folders]
        for node in self._nodes:
            node.start()
        yield "nodes without stores are started"
        nodes = self._nodes
        yield from self._until(lambda: bool(_ended(nodes)), "a node refuses to work")
        for node in _ended(nodes):
            yield from self._await_end(
                node.process, node.process.log, StateError.exit_code, _REFUSED
            )
        for node in nodes:
            if node.process.exit_code is None:
                node.process.terminate()
        yield from self._until(lambda: len(_ended(nodes)) == len(nodes), "all nodes finish")
        for folder, whole in zip(folders, kept, strict=True):
            shutil.rmtree(folder)
            whole.rename(folder)
        yield "their stores are back"

    def _copy_folder(self, node: ChaosNode, choice: int) -> Steps:
        """Of a node and its copy the one that comes first works, and the other one stays out."""
        state = self._site.state_of(node.number)
        copied = state.with_name(f"{state.name}-copy")
        yield from self._stop([node])
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(state, copied)
        first, second = (state, copied) if choice % 2 else (copied, state)
        one = self._site.start_on(first)
        try:
            yield from self._until(lambda: one.has_begun, "the first of them works")
            yield from self._pause(_SETTLING)
            other = self._site.start_on(second)
            yield "the same node is started twice"
            yield from self._await_end(other, other.log, Fenced.exit_code, "runs already")
            if one.exit_code is not None:
                self._problems.append(
                    f"the first of two copies ended with exit code {one.exit_code}; see {one.log}"
                )
            one.terminate()
            yield from self._until(lambda: one.exit_code is not None, "the first of them finishes")
        finally:
            one.kill()
        self._start([node])
        yield f"node {node.number} is started again, alone"

    # -- steps

    def _command(self, name: str, *options: str) -> Steps:
        process = self._site.start_command(name, [*options, "--yes"])
        yield f"kproc {name} {' '.join(options)}"
        yield from self._until(lambda: process.poll() is not None, f"kproc {name} ends")
        if process.poll():
            text = self._site.log.read_bytes()[-_LOG_END:].decode(errors="replace")
            self._problems.append(f"kproc {name} ended with exit code {process.poll()}: {text}")

    def _await_end(
        self, process: NodeProcess, log: Path, code: int, reason: str = "start this node again"
    ) -> Steps:
        """Waits for the end of one that must not go on, and checks that it says why."""
        yield from self._until(lambda: process.exit_code is not None, "who may not work ends")
        if process.exit_code != code:
            ended = f"ended with exit code {process.exit_code}" if process.exit_code else "goes on"
            self._problems.append(f"{log.stem} {ended} instead of exit code {code}; see {log}")
            process.kill()
        elif reason not in log.read_bytes()[-_LOG_END:].decode(errors="replace"):
            self._problems.append(f"{log.stem} does not say {reason!r} at its end; see {log}")
        else:
            yield f"{log.stem} ends with exit code {code}, as it has to"

    def _until(self, holds: Callable[[], bool], what: str) -> Steps:
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                self._problems.append(f"the operator waited {_PATIENCE:.0f} s in vain until {what}")
                return
            yield ""

    def _pause(self, length: float) -> Steps:
        until = time.monotonic() + length
        while time.monotonic() < until:
            yield ""


def _ended(nodes: Sequence[ChaosNode]) -> list[ChaosNode]:
    return [node for node in nodes if node.process.exit_code is not None]
