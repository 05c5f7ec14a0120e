"""One application under test: its topics, its input, its worker processes, and the whole check."""

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, Self

import msgspec
from msgspec import structs

from processor.cluster.beats import Role
from processor.errors import Interrupted
from processor.kafka.progress import Backlog
from processor.loading import load
from processor.node.node import worker_spec
from processor.node.setup import prepare
from processor.settings import Settings
from processor.topology.plan import plan
from processor.worker.channel import ADOPT, Failure, Report, Status, parse
from processor.worker.spec import WorkerSpec
from tests import forks, ledger
from tests.crashes.expected import OUTPUTS, PARTITIONS, STORES, Expected, Feed

WORKER = "tests.crashes.ordinary"
DRAIN_TIMEOUT = 120.0
PATIENCE = 120.0
LOOK = 0.1
"""Seconds between two looks at a broker: each takes processor time from all tests."""

RUNNING: list[forks.Forked] = []
"""The worker processes of a test, which are over when it is, however it ends."""


class WorkerProcess:
    """A worker process as the supervisor would start it.

    Args:
        spec: Its slot's work.
        env: Added to the environment.
        module: What to run: the worker itself or a test's own form of it.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        env: Mapping[str, str],
        module: str = WORKER,
    ) -> None:
        self._spec, self._env, self._module = spec, env, module
        self.reports: list[Report] = []
        self._start()

    def _start(self) -> None:
        read, write = os.pipe()
        given, ours = os.pipe()
        with tempfile.TemporaryFile() as stack:
            self.process = forks.start(
                self._module,
                files=[given, 1, 2],
                passed=[write, stack.fileno()],
                env={**os.environ, **self._env},
            )
        RUNNING.append(self.process)
        os.close(given)
        os.close(write)
        self.input = os.fdopen(ours, "wb", 0)
        self.input.write(msgspec.json.encode(self._spec) + b"\n")
        self._reader = Thread(target=self._hear, args=(read,), daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        """Whether it runs; one that was interrupted is started again, as the supervisor does."""
        if self.process.poll() == Interrupted.exit_code:
            self.wait()
            self._start()
        return self.process.poll() is None

    def adopt(self) -> None:
        """Has a backup take the slot over, as the supervisor does."""
        self.input.write(ADOPT + b"\n")

    def await_state(self, state: str, timeout: float = PATIENCE) -> Status:
        """Waits until it reports a state; the report."""
        deadline = time.monotonic() + timeout
        while True:
            last = self.status
            if last is not None and last.state == state:
                return last
            assert self.process.poll() is None, self.failure
            assert time.monotonic() < deadline, last
            time.sleep(0.005)

    def await_tasks(self, count: int, timeout: float = PATIENCE) -> None:
        """Waits until it has opened so many tasks."""
        deadline = time.monotonic() + timeout
        while self.tasks < count:
            assert self.process.poll() is None, self.failure
            assert time.monotonic() < deadline, self.status
            time.sleep(0.01)

    def await_log(self, event: str, timeout: float = PATIENCE) -> Mapping[str, Any]:
        """Waits until it logs an event; the fields of the first."""
        deadline = time.monotonic() + timeout
        while not (found := self.logged(event)):
            assert self.process.poll() is None, self.failure
            assert time.monotonic() < deadline, self.reports[-5:]
            time.sleep(0.005)
        return found[0]

    def wait(self, timeout: float = PATIENCE) -> int:
        """Waits for its end; the exit code, negative for a signal."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join()
        self.input.close()
        return code

    def ask_to_stop(self) -> None:
        """Asks it to finish, as the supervisor does."""
        self.input.close()

    def stop(self) -> int:
        """Asks it to finish and waits for that; the exit code."""
        self.ask_to_stop()
        return self.wait()

    @property
    def status(self) -> Status | None:
        """Its last report of how it is."""
        return next((each for each in reversed(self.reports) if isinstance(each, Status)), None)

    @property
    def tasks(self) -> int:
        """How many tasks it has opened, by its last report."""
        return self.status.tasks if self.status else 0

    @property
    def failure(self) -> Failure | None:
        """What it said when it failed."""
        return next((each for each in self.reports if isinstance(each, Failure)), None)

    def logged(self, event: str) -> list[Mapping[str, Any]]:
        """The fields of what it logged of an event."""
        return [
            report.fields
            for report in self.reports
            if not isinstance(report, Status | Failure) and report.event == event
        ]

    def _hear(self, pipe: int) -> None:
        with os.fdopen(pipe, "rb") as lines:
            self.reports.extend(map(parse, lines))


class Application:
    """The job of `job.py` with topics and a state folder of its own.

    Its nodes have so many slots; a `worker` that a test starts by itself works on all partitions.
    """

    def __init__(
        self, kafka: str, name: str, folder: Path, seed: int, *, slots: int = 2, **settings: Any
    ) -> None:
        self.kafka, self.name, self.folder = kafka, name, folder / name
        self.folder.mkdir()
        self.file = str(self.folder / "job.py")
        shutil.copyfile(Path(__file__).with_name("job.py"), self.file)
        self.settings = Settings(
            bootstrap=kafka,
            **{
                "state_dir": folder / "state",
                "checkpoint_interval": "50ms",
                **settings,
            },
        )
        self.plan = plan(load(self.file))
        ledger.create(kafka, {f"{name}-{each}": PARTITIONS for each in ("in", *OUTPUTS)})
        self.layout = prepare(self.plan, self.settings.model_copy(update={"slots": slots}))
        self.feed = Feed(kafka, f"{name}-in", seed)

    def moved(self, state_dir: Path) -> Self:
        """The same application on another machine: the state folder is another from now on."""
        self.settings = self.settings.model_copy(update={"state_dir": state_dir})
        return self

    def worker(self, module: str = WORKER, role: Role = "primary", **env: str) -> WorkerProcess:
        """Starts a worker, or a form of it that does what `env` says."""
        layout = dataclasses.replace(self.layout, slots=1)
        spec = worker_spec(self.file, layout, self.settings, 0)
        return WorkerProcess(structs.replace(spec, role=role), env, module)

    def suicidal_worker(self, at: str, role: Role = "primary") -> WorkerProcess:
        """Starts a worker that ends itself at these commands, see `suicidal`."""
        return self.worker(module="tests.crashes.suicidal", role=role, KILL_AT=at)

    def is_drained(self, patience: float = DRAIN_TIMEOUT) -> bool:
        """Whether all input is processed and committed within so many seconds."""
        backlog = Backlog(self.settings.clients.kafka, self.layout)
        deadline = time.monotonic() + patience
        while not (done := backlog.look()) and time.monotonic() < deadline:
            time.sleep(LOOK)
        return done

    def drain(self, worker: WorkerProcess) -> None:
        """Waits until all input is processed and committed."""
        deadline = time.monotonic() + DRAIN_TIMEOUT
        while not self.is_drained(1):
            assert worker.is_running(), worker.failure
            assert time.monotonic() < deadline, "the input is not processed in time"

    def feed_until_killed(self, worker: WorkerProcess) -> None:
        """Writes more and more: how many checkpoints an amount of input takes is not known.

        But not before it runs: how much there is must not depend on how long its start takes.
        """
        deadline = time.monotonic() + DRAIN_TIMEOUT
        while worker.is_running():
            assert time.monotonic() < deadline, "the worker is not killed in time"
            if worker.status is not None and worker.status.state == "running":
                self.feed.write(20)
            time.sleep(0.05)

    def run_to_end(self) -> None:
        """One worker until everything is processed, and a clean stop."""
        worker = self.worker()
        self.drain(worker)
        # All stores are to be compared: those of tasks that had nothing to do are restored, too.
        worker.await_tasks(len(self.layout.tasks))
        assert worker.stop() == 0, worker.failure

    @property
    def topics(self) -> list[str]:
        """All its topics."""
        internal = [topic.name for topic in self.layout.internal_topics]
        return [f"{self.name}-{each}" for each in ("in", *OUTPUTS)] + internal

    def check(self) -> None:
        """Checks everything, after all workers have stopped cleanly."""
        ledger.await_stable(self.kafka, self.topics)
        ledger.check_processed(self.kafka, self.name, self.layout.partitions)
        outputs = [f"{self.name}-{each}" for each in OUTPUTS]
        changelogs = [self.plan.changelog(each) for each in STORES]
        rows = ledger.read_all(self.kafka, [*outputs, *changelogs, self.plan.dead_letters])
        expected = Expected(self.feed.events)
        expected.check_outputs({each: rows[f"{self.name}-{each}"] for each in OUTPUTS})
        expected.check_stores(
            {each: self._store(each, rows[self.plan.changelog(each)]) for each in STORES}
        )
        letters = [json.loads(row.value or b"")["id"] for row in rows[self.plan.dead_letters]]
        assert sorted(letters) == sorted(self.feed.refused)

    def _store(self, name: str, changelog: list[ledger.Row]) -> dict[Any, Any]:
        specs = (spec for part in self.plan.subtopologies for spec in part.stores)
        spec = next(each for each in specs if each.name == name)
        directory = self.settings.state_dir / self.name / name
        ends = ledger.offsets(self.kafka, self.plan.changelog(name))
        partitions = ledger.check_store(directory, ends, changelog).values()
        return {
            spec.key.decode(key): spec.value.decode(value)
            for contents in partitions
            for key, value in contents.items()
        }
