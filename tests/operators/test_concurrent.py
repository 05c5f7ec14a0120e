"""Calls to services: many at once, in order for each key, with a limit of time and more tries."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from processor import Topology
from processor.errors import TopologyError, UsageError
from processor.operators import concurrent
from processor.records import Record, Timestamp
from processor.testing import TopologyDriver


class Service:
    """Counts calls and how many run at once; answers when enough run, so that no time counts."""

    def __init__(self, together: int = 1) -> None:
        self.calls: list[Any] = []
        self.running = self.most = 0
        self._together = together
        self._full: asyncio.Event | None = None

    async def __call__(self, value: int) -> int:
        self._full = self._full or asyncio.Event()
        self.calls.append(value)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running >= self._together:
            self._full.set()
        await self._full.wait()
        await asyncio.sleep(0)
        self.running -= 1
        return value * 10


def driven(function: Any, **options: Any) -> TopologyDriver:
    topology = Topology("app")
    topology.stream("in").map_async(function, **options).to("out")
    return TopologyDriver(topology)


def pipe(driver: TopologyDriver, *rows: tuple[str | None, Any]) -> None:
    driver.pipe("in", *(Record(key, value, Timestamp(1)) for key, value in rows))


def test_calls_run_at_once_and_results_are_in_order() -> None:
    service = Service(together=4)
    driver = driven(service, concurrency=4)
    pipe(driver, *((f"k{number}", number) for number in range(20)))
    assert driver.read("out") == [(f"k{number}", 10 * number) for number in range(20)]
    assert service.most == 4


def test_a_driver_works_in_a_loop_that_runs() -> None:
    service = Service(together=2)

    async def test() -> list[Any]:
        driver = driven(service, concurrency=2)
        for number in range(3):
            pipe(driver, ("ann", number), ("bob", number))
        return driver.read("out")

    results = asyncio.run(test())
    assert results == [(key, 10 * n) for n in range(3) for key in ("ann", "bob")]
    driver = driven(service, concurrency=2)  # and the same loop goes on without it
    pipe(driver, ("ann", 7), ("bob", 8))
    assert driver.read("out") == [("ann", 70), ("bob", 80)]


def test_calls_of_a_key_are_made_one_after_the_other() -> None:
    service = Service()
    driver = driven(service)
    pipe(driver, *(("ann", number) for number in range(10)))
    assert service.calls == list(range(10))
    assert service.most == 1
    assert [value for _, value in driver.read("out")] == [10 * number for number in range(10)]


def test_records_without_a_key_wait_for_nobody() -> None:
    service = Service(together=10)
    driver = driven(service)
    pipe(driver, *((None, number) for number in range(10)))
    assert service.most == 10
    assert len(driver.read("out")) == 10


def test_a_call_without_an_answer_makes_its_record_a_bad_one() -> None:
    async def ask(value: int) -> int:
        if value == 2:
            await asyncio.Event().wait()
        return value

    driver = driven(ask, timeout="10ms")
    pipe(driver, ("a", 1), ("b", 2), ("c", 3))
    assert driver.read("out") == [("a", 1), ("c", 3)]
    (letter,) = driver.dead_letters()
    headers = dict(letter.headers)
    assert headers["kproc.error"] == b"NoAnswerError: no answer in 0.01 s"


def test_a_function_may_time_out_by_itself() -> None:
    async def ask(value: int) -> int:
        raise TimeoutError("mine")

    driver = driven(ask)
    pipe(driver, ("a", 1))
    (letter,) = driver.dead_letters()
    assert dict(letter.headers)["kproc.error"] == b"TimeoutError: mine"


def test_what_is_cancelled_for_one_call_fails_for_all_that_await_it() -> None:
    shared: list[asyncio.Task[None]] = []

    async def ask(value: int) -> int:
        if not shared:
            shared.append(asyncio.create_task(asyncio.sleep(60)))
        if value == 0:
            await asyncio.sleep(0)
            shared[0].cancel()
        await shared[0]
        return value

    driver = driven(ask, concurrency=3)
    pipe(driver, *((f"k{number}", number) for number in range(8)))
    assert driver.read("out") == []
    assert driver.bad_records == {("map-async-1", "function"): 8}


def test_a_call_that_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrent, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(concurrent, "_LONGEST_PAUSE", 0.002)
    calls: Counter[int] = Counter()

    async def ask(value: int) -> int:
        calls[value] += 1
        if calls[value] < value:
            raise ConnectionError("away")
        return value

    driver = driven(ask, retries=2)
    pipe(driver, ("a", 1), ("b", 3), ("c", 100))
    assert driver.read("out") == [("a", 1), ("b", 3)]
    assert calls[3] >= 3
    assert driver.bad_records == {("map-async-1", "function"): 1}


def test_clients_live_as_long_as_the_process() -> None:
    loops: set[asyncio.AbstractEventLoop] = set()

    async def ask(value: int) -> int:
        loops.add(asyncio.get_running_loop())
        return value

    driver = driven(ask)
    pipe(driver, ("a", 1))
    pipe(driver, ("a", 2))
    assert len(loops) == 1


def test_enrich_has_the_value_and_what_was_found() -> None:
    async def name_of(user: str) -> str:
        return user.upper()

    def joined(user: str, name: str) -> dict[str, str]:
        if user == "bob":
            raise LookupError
        return {"user": user, "name": name}

    topology = Topology("app")
    topology.stream("in", value=str).enrich(name_of, joined).to("out")
    driver = TopologyDriver(topology)
    pipe(driver, ("a", "ann"), ("b", "bob"), ("c", "cy"))
    assert [value for _, value in driver.read("out")] == [
        {"user": "ann", "name": "ANN"},
        {"user": "cy", "name": "CY"},
    ]


def test_wrong_topologies() -> None:
    def plain(value: int) -> int:
        return value

    async def ask(value: int) -> int:
        return value

    with pytest.raises(TopologyError, match="plain is no async def: use map_values"):
        driven(plain)
    with pytest.raises(TopologyError, match="concurrency=0: give 1 or more"):
        driven(ask, concurrency=0)
    with pytest.raises(TopologyError, match="retries=-1: give 0 or more"):
        driven(ask, retries=-1)
    with pytest.raises(UsageError, match="timeout"):
        driven(ask, timeout="soon")
