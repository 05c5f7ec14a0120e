"""What is seen of a loop that does not move on: from another thread, and in a stack in words."""

import asyncio
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Condition, Event, Lock, Thread
from typing import Any

import pytest

from processor import Record, Topology
from processor.records import Timestamp
from processor.testing import TopologyDriver
from processor.worker.standstill import Standstill, Watch, dumped

LIMIT = 60.0
HERE = re.escape(__file__)


class Gate:
    """Where a function waits at each call, until the test lets it pass."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._calls = self._passed = 0
        self._is_open = False

    def __call__(self, value: Any) -> Any:
        with self._changed:
            self._calls += 1
            mine = self._calls
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._is_open or mine <= self._passed, 60)
        return value

    def arrive(self) -> None:
        """Waits until the function waits here."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._calls > self._passed, 60)

    def go_on(self, calls: int = 1) -> None:
        """Lets so many calls pass; returns when the next one waits."""
        for _ in range(calls):
            self.arrive()
            with self._changed:
                self._passed += 1
                self._changed.notify_all()
        self.arrive()

    def open(self) -> None:
        """Lets all pass from now on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()


class Looking:
    """A watch whose clock is the test's."""

    def __init__(self) -> None:
        self.now = 0.0
        self.watch = Watch(LIMIT, lambda: self.now)

    def look(self, seconds: float = 0.0) -> Standstill | None:
        """Looks once a second for so long, and says what is seen in the end."""
        found = self.watch.look()
        for _ in range(round(seconds)):
            self.now += 1.0
            found = self.watch.look()
        return found

    def found(self) -> Standstill:
        """What is seen once the limit has passed."""
        assert self.look(LIMIT - 1) is None
        seen = self.look(1)
        assert seen is not None
        return seen


@contextmanager
def at_work(gate: Gate, work: Callable[[], Any]) -> Generator[Looking]:
    """Another thread's work, which is at the gate; in the end it goes on."""
    made: list[Looking] = []
    begun = Event()

    def run() -> None:
        made.append(Looking())
        begun.set()
        work()

    thread = Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(120)
    gate.arrive()
    yield made[0]
    gate.open()
    thread.join(120)
    assert not thread.is_alive()


Slow = Callable[[Any], Any]
Define = Callable[[Any, Slow], None]
ROWS = 5


def driven(define: Define, gate: Gate, rows: int = ROWS) -> Callable[[], None]:
    """A topology at work on a batch of records."""

    def slow(value: Any) -> Any:
        return gate(value)

    topology = Topology("app")
    define(topology.stream("in", key=str, value=int), slow)
    driver = TopologyDriver(topology)
    records = [Record("k", value, Timestamp(value)) for value in range(rows)]
    return lambda: driver.pipe("in", *records)


def odd_fails(value: int) -> int:
    if value % 2:
        raise ValueError(value)
    return value


def above_one(value: int) -> bool:
    return value > 1


def in_values(stream: Any, slow: Slow) -> None:
    stream.map_values(slow).to("out")


def in_process(stream: Any, slow: Slow) -> None:
    def each(row: Any, _context: Any) -> Any:
        return [slow(row)]

    stream.process(each).to("out")


def in_a_sum(stream: Any, slow: Slow) -> None:
    def add(one: int, other: int) -> int:
        return slow(one + other)

    stream.group_by_key().reduce(add)


def behind_a_filter(stream: Any, slow: Slow) -> None:
    stream.filter(above_one).map_values(slow).to("out")


def behind_a_failure(stream: Any, slow: Slow) -> None:
    stream.map_values(odd_fails).map_values(slow).to("out")


def with_a_handler(stream: Any, slow: Slow) -> None:
    def keep(_error: Exception, each: Any) -> Any:
        return each

    stream.filter(above_one).on_bad_record(keep).map_values(slow).to("out")


def in_a_handler(stream: Any, slow: Slow) -> None:
    def repair(_error: Exception, each: Any) -> Any:
        return slow(each)._replace(value=0)

    stream.on_bad_record(repair).map_values(odd_fails).to("out")


def test_the_function_its_place_and_the_record_are_named() -> None:
    gate = Gate()
    with at_work(gate, driven(in_values, gate)) as seen:
        gate.go_on(3)
        found = seen.found()
    assert found.in_function
    assert re.match(rf"driven\.<locals>\.slow \({HERE}, line \d+\), in .*wait \(", found.text)
    assert found.text.endswith(", at in[0] offset 3")
    assert found.culprit == f"driven.<locals>.slow ({__file__}), at in[0] offset 3"


@pytest.mark.parametrize(
    ("define", "passed", "record"),
    [
        (in_process, 2, 2),
        (in_a_sum, 1, 2),
        (behind_a_filter, 1, 3),
        (behind_a_failure, 1, 2),
        (with_a_handler, 1, 3),
    ],
)
def test_the_record_is_named_wherever_it_is(define: Define, passed: int, record: int) -> None:
    gate = Gate()
    with at_work(gate, driven(define, gate)) as seen:
        gate.go_on(passed)
        assert seen.found().text.endswith(f", at in[0] offset {record}")


def test_of_a_call_that_is_not_for_a_row_the_records_are_named_that_it_may_be_at() -> None:
    gate = Gate()
    with at_work(gate, driven(in_a_handler, gate)) as seen:
        found = seen.found()
    assert found.text.endswith(", at one of in[0] offsets 0 to 4")
    assert found.culprit.endswith(f"({__file__})")


@pytest.mark.parametrize("define", [in_values, in_a_sum, in_a_handler])
def test_who_goes_on_to_another_record_moves_on(define: Define) -> None:
    gate = Gate()
    with at_work(gate, driven(define, gate)) as seen:
        assert seen.look(LIMIT - 1) is None
        gate.go_on()
        assert seen.look() is None
        assert seen.watch.age == 0
        assert seen.found()


def test_a_function_in_c_is_named_too() -> None:
    lock, gate = Lock(), Gate()
    gate.open()
    lock.acquire()

    def define(stream: Any, slow: Slow) -> None:
        stream.map_values(slow).map_values(lock.acquire).to("out")

    with at_work(gate, driven(define, gate, rows=2)) as seen:
        while (found := seen.look(1)) is None or "acquire" not in found.text:
            pass  # between the gate and the lock there are few steps
        lock.release()
    assert found.text.startswith("lock.acquire (")
    assert found.text.endswith(", at in[0] offset 1")  # of which the value has it wait
    assert found.in_function


def test_calls_that_are_awaited_have_time_outs_of_their_own() -> None:
    gate, turned, answered = Gate(), Event(), Event()

    async def answer(value: int) -> int:
        gate.open()
        gate(value)
        while not answered.is_set():
            turned.set()
            await asyncio.sleep(0.001)
        return value

    topology = Topology("app")
    topology.stream("in", value=int).map_async(answer, timeout=120).to("out")
    driver = TopologyDriver(topology)
    with at_work(gate, lambda: driver.pipe("in", value=1)) as seen:
        for _ in range(3):
            seen.look(1)
            for _ in range(2):  # the event loop turns at least once
                turned.clear()
                assert turned.wait(120)
            seen.look()
            assert seen.watch.age == 0
        answered.set()


def test_what_blocks_the_event_loop_is_named() -> None:
    gate = Gate()

    async def answer(value: int) -> int:
        return gate(value)

    topology = Topology("app")
    topology.stream("in", value=int).map_async(answer).to("out")
    driver = TopologyDriver(topology)
    with at_work(gate, lambda: driver.pipe("in", value=1)) as seen:
        found = seen.found()
    assert found.in_function
    assert "answer (" in found.text


def test_a_loop_that_turns_moves_on_and_a_suspended_process_ages_by_little() -> None:
    seen = Looking()
    assert seen.look(LIMIT - 1) is None
    seen.watch.turned()
    seen.look()
    assert seen.watch.age == 0
    seen.now += 1_000
    assert seen.look() is None
    assert seen.watch.age == 1


def test_no_limit() -> None:
    seen = Looking()
    seen.watch = Watch(None, lambda: seen.now)
    assert seen.look(10 * LIMIT) is None
    assert seen.watch.age == 10 * LIMIT


def place(file: str, line: int, function: str) -> str:
    return f'  File "{file}", line {line} in {function}\n'


OURS = Standstill.__module__ and __import__("processor").__path__[0]


@pytest.mark.parametrize(
    ("caller", "in_function"), [("attempt.py", True), ("worker/outbox.py", False)]
)
def test_a_stack_that_was_dumped(caller: str, in_function: bool) -> None:  # noqa: FBT001
    text = (
        "Current thread 0x00007f (most recent call first):\n"
        + place("/usr/lib/python3.11/re.py", 7, "match")
        + place("/app/orders.py", 12, "parse")
        + place(f"{OURS}/{caller}", 40, "attempt")
        + place("<frozen runpy>", 88, "_run_code")
    )
    found = dumped(text)
    assert found == Standstill(
        "parse (/app/orders.py, line 12), in match (/usr/lib/python3.11/re.py, line 7)",
        "parse (/app/orders.py)",
        in_function,
    )


def test_nothing_was_dumped() -> None:
    assert dumped("") is None
