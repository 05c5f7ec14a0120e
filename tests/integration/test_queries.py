"""Queries of real nodes: what is committed, from whichever node is asked, also while slots move."""

import asyncio
import contextlib
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from processor.client import AsyncClient, Client, StoreUnavailable
from processor.errors import QueryError
from processor.loading import load
from tests.integration.conftest import PATIENCE, App
from tests.integration.node_process import NodeProcess
from tests.suites import long

pytestmark = pytest.mark.kafka

TOPOLOGY = """
from processor import session, tumbling

source = topology.stream(IN, value=dict[str, Any])
counts = source.group_by_key().count(name="counts")
counts.to(OUT)
windows = source.group_by_key().window(tumbling("10s"), emit="change", retention="1h")
windows.count(name="windows").to(f"{APP}-w")
sessions = source.group_by_key().window(session("5s", grace="1h"))
sessions.count(name="sessions").to(f"{APP}-s")
source.group_by("user").count(name="users")
topology.global_table(f"{APP}-g", value=str, name="names")
LAST = key_value("last", key=str, value=dict[str, Any])

def keep(record, context):
    context.store(LAST).put(record.key, record.value)
    return ()

source.process(keep, stores=[LAST], name="keep")
"""


class Asked:
    """One node's stores."""

    def __init__(self, node: NodeProcess, app: App) -> None:
        self.node = node
        self.page = app.await_log(node, "http")["page"]

    def get(self, path: str, **given: Any) -> tuple[int, Any]:
        """An answer; asked for again while there is none, as on a machine that is slow."""
        deadline = time.monotonic() + PATIENCE
        while True:
            status, found = self.get_once(path, **given)
            if status != 503 or time.monotonic() > deadline:
                return status, found
            time.sleep(found["retry_after"])

    def get_once(self, path: str, **given: Any) -> tuple[int, Any]:
        text = urllib.parse.urlencode(given, doseq=True)
        try:
            with urllib.request.urlopen(f"{self.page}{path}?{text}", timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def await_answer(self, path: str, holds: Callable[[Any], object], **given: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            status, found = self.get_once(path, **given)
            if status == 200 and holds(found):
                return found
            assert status in (200, 404, 503), (status, found)
            assert time.monotonic() < deadline, (status, found)
            time.sleep(0.05)


def test_everything_that_can_be_asked(app: App) -> None:
    app.define(TOPOLOGY)
    app.topics("in", "out", "w", "s", "g")
    users = {f"k{n}": f"u{n % 3}" for n in range(20)}
    rows = [
        (n % 2, key, json.dumps({"user": user}), 1_000 + second * 1000)
        for second in range(15)
        for n, (key, user) in enumerate(users.items())
    ]
    app.write(*rows)
    app.write((0, "x", "one"), (1, "y", "two"), topic=f"{app.name}-g")
    with app.start(http=":0", slots=2, persist_interval="1h") as node:
        asked = Asked(node, app)
        asked.await_answer("stores/counts/k19", lambda found: found["value"] == 15)
        asked.await_answer("stores/users", lambda found: sum(_values(found)) == 300)

        _, found = asked.get("stores")
        kinds = {each["name"]: each["kind"] for each in found["stores"]}
        assert kinds == {
            "counts": "table",
            "last": "key-value",
            "names": "global",
            "sessions": "windows",
            "users": "table",
            "windows": "windows",
        }
        assert asked.get("stores/counts/k7") == (
            200,
            {"key": "k7", "value": 15, "timestamp": 15_000},
        )
        assert asked.get("stores/last/k4") == (200, {"key": "k4", "value": {"user": "u1"}})
        assert asked.get("stores/names/y") == (200, {"key": "y", "value": "two"})
        status, failed = asked.get("stores/counts/nobody")
        assert (status, failed["error"]) == (404, "unknown-key")
        status, failed = asked.get("stores/nothing/k")
        assert (status, failed["error"]) == (404, "unknown-store")
        status, failed = asked.get("stores/counts", limit="many")
        assert (status, failed["error"]) == (400, "malformed")

        several = asked.get("stores/counts", key=["k3", "nobody", "k5"])[1]["entries"]
        assert [each["key"] for each in several] == ["k3", "k5"]
        ranged = asked.get("stores/counts", **{"from": "k1", "to": "k13"})[1]["entries"]
        assert [each["key"] for each in ranged] == ["k1", "k10", "k11", "k12"]

        seen: list[str] = []
        given: dict[str, Any] = {"limit": 7}
        while True:
            page = asked.get("stores/counts", **given)[1]
            seen += [each["key"] for each in page["entries"]]
            if "next" not in page:
                break
            given["after"] = page["next"]
        assert seen == sorted(users)
        assert asked.get("stores/counts/count") == (200, {"count": 20, "exact": True})

        spans = asked.get("stores/windows/k2")[1]["entries"]
        assert [(each["start"], each["value"]) for each in spans] == [(0, 9), (10_000, 6)]
        (late,) = asked.get("stores/windows/k2", **{"from": 12_000})[1]["entries"]
        assert (late["key"], late["end"]) == ("k2", 20_000)
        assert asked.get("stores/windows/k2", to="1970-01-01")[1]["entries"] == []
        (one,) = asked.get("stores/sessions/k2")[1]["entries"]
        assert (one["start"], one["end"], one["value"]) == (1_000, 15_001, 15)
        early = asked.get("stores/windows", to=10_000, limit=1000)[1]["entries"]
        assert len(early) == 20
        assert asked.get("stores/windows/count")[1]["count"] == 40
        _ask_by_clients(app, asked)
        _ask_by_command(app, asked)
        assert node.stop() == 0


def _ask_by_clients(app: App, asked: Asked) -> None:
    """The same by the client: typed by the topology, by name, and with asyncio."""
    topology = load(str(app.file))
    with Client(asked.page, topology) as client:
        counts = client.store("counts")
        assert counts.get("k7") == 15
        assert counts.get("nobody") is None
        assert counts.get_many(["k1", "nobody"]) == [15, None]
        assert counts.get_many([*("x" * 90 for _ in range(3000)), "k2"])[-1] == 15
        assert [key for key, _ in counts.items("k1", "k12")] == ["k1", "k10", "k11"]
        assert (counts.count().count, counts.count().exact) == (20, True)
        assert client.store("names").get("x") == "one"
        found = client.windows("windows").get("k2", 12_000)
        assert [(window, value) for window, value in found] == [(("k2", 10_000, 20_000), 6)]
        assert len(list(client.windows("windows").items(until=10_000))) == 20
        with pytest.raises(QueryError, match="no store 'nothing'"):
            client.store("nothing")
    with Client(asked.page) as client:
        named = client.store("counts", key=str, value=int)
        assert named.get_many(["k1", "nobody"]) == [15, None]
        assert named.get_many(["k1", *("x" * 90 for _ in range(99)), "k2"])[-1] == 15
        entry = named.entry("k7")
        assert entry is not None
        assert (entry.value, entry.timestamp) == (15, 15_000)
        assert len(list(named.items())) == named.count().count == 20
        (late,) = client.windows("windows", key=str, value=int).get("k2", 12_000)
        assert late == (("k2", 10_000, 20_000), 6)
        assert "counts" in {each.name for each in client.stores()}

    async def by_asyncio() -> None:
        async with AsyncClient(asked.page, topology) as client:
            counts, windows = client.store("counts"), client.windows("windows")
            assert await counts.get("k7") == 15
            assert await counts.get_many(["k1", "nobody"]) == [15, None]
            assert len([key async for key, _ in counts.items()]) == 20
            assert (await counts.count()).count == 20
            assert len(await windows.get("k2")) == 2
            assert len([each async for each in windows.items()]) == 40

    asyncio.run(by_asyncio())


def _ask_by_command(app: App, asked: Asked) -> None:
    at = ("--http", asked.page)
    assert json.loads(app.kproc("query", "counts", "k7", "--json"))["value"] == 15
    assert "no such key" in app.kproc("query", "counts", "nobody", *at, expect=1)
    assert "there are counts" in app.kproc("query", "nothing", *at, expect=2)
    assert app.kproc("query", "counts", "--count", *at).strip() == "20"
    assert len(app.kproc("query", "counts", "--limit=3", "--json", *at).splitlines()) == 4
    shown = app.kproc("query", "windows", "k2", "--from=1970-01-01T00:00:12", *at)
    assert "k2 1970-01-01T00:00:10Z/1970-01-01T00:00:20Z" in shown


def test_nothing_uncommitted_is_shown_and_a_restart_changes_nothing(app: App) -> None:
    app.define(
        "source = topology.stream(IN)\n"
        "source.group_by_key().reduce(lambda a, b: b, name='last').to(OUT)"
    )
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "1"))
    with app.start(http=":0") as node:
        asked = Asked(node, app)
        asked.await_answer("stores/last/k", lambda found: found["value"] == 1)
        assert node.stop() == 0
    # So long is the next transaction: what it changes is seen by nobody before it ends.
    slow = {"checkpoint_interval": "15s", "transaction_timeout": "60s", "cache_bytes": 0}
    with app.start(http=":0", **slow) as node:
        asked = Asked(node, app)
        asked.await_answer("stores/last/k", lambda found: found["value"] == 1)
        app.write((0, "first", "1"))  # the first checkpoint comes at once
        app.await_output(2)
        app.write((0, "k", "2"), (0, "new", "3"))
        app.await_log(node, "progress")
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            values = {each["key"]: each["value"] for each in asked.get("stores/last")[1]["entries"]}
            done = {row.key for row in app.read()} >= {b"new"}
            assert done or values == {"k": 1, "first": 1}
        asked.await_answer("stores/last/new", lambda found: found["value"] == 3)
        assert asked.get("stores/last/k")[1]["value"] == 2
        node.kill()
    with app.start(http=":0") as node:
        asked = Asked(node, app)
        asked.await_answer("stores/last/new", lambda found: found["value"] == 3)
        assert asked.get("stores/last/k")[1]["value"] == 2


def test_any_node_answers_for_all_also_while_slots_move(app: App) -> None:
    """Counts never fall, whoever is asked, and what is no answer says when to ask again."""
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out", partitions=4)
    settings = {"slots": 4, "backup_mode": "primary-backup", "http": ":0", "stuck_after": ""}
    keys = [f"k{n}" for n in range(40)]
    with app.start(**settings) as one, app.start(**settings) as two:
        nodes = [Asked(one, app), Asked(two, app)]
        least = dict.fromkeys(keys, 0)
        for turn in range(1, 4):
            app.write(*((n % 4, key, "{}") for n, key in enumerate(keys)))
            for asked in nodes:
                _await_counts(asked, turn, keys)
        for asked in nodes:  # each of a part of the keys by itself, of the rest by the other
            assert {asked.get(f"stores/counts/{key}")[1]["value"] for key in keys} == {3}
            assert asked.get("stores/counts/count")[1] == {"count": 40, "exact": True}
        least = dict.fromkeys(keys, 3)
        _await_backups(app, two)
        one.kill()
        asked, codes = nodes[1], set[str]()
        deadline = time.monotonic() + PATIENCE
        left = set(keys)
        while left and time.monotonic() < deadline:
            key = min(left)
            status, found = asked.get_once(f"stores/counts/{key}")
            if status == 200:
                assert found["value"] >= least[key]
                left.discard(key)
            else:
                assert (status, found["retry_after"] > 0) == (503, True), found
                codes.add(found["error"])
            status, found = asked.get_once(f"stores/counts/{key}", stale="ok")
            assert status == 503 or found["value"] == 3, found
        assert not left
        assert codes <= {"moving", "restoring", "unreachable", "slow", "cut-off", "busy"}
        app.write(*((n % 4, key, "{}") for n, key in enumerate(keys)))
        _await_counts(asked, 4, keys)


@pytest.mark.parametrize("kills", [2, *long(25)])
def test_answers_while_slots_move_are_those_of_a_recomputation(
    app: App, kills: int, chance: random.Random
) -> None:
    """All has come `turn` times or, where an answer is of before the write, once less."""
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out", partitions=4)
    settings = {"slots": 4, "backup_mode": "primary-backup", "http": ":0"}
    keys = [f"k{n}" for n in range(40)]
    with contextlib.ExitStack() as stack:

        def started() -> Asked:
            return Asked(stack.enter_context(app.start(**settings)), app)

        nodes = [started(), started()]
        for each in nodes:
            app.await_log(each.node, "worker running")  # its topics are there
        for turn in range(1, kills + 1):
            _await_backups(app, nodes[0].node)
            app.write(*((n % 4, key, "{}") for n, key in enumerate(keys)))
            time.sleep(chance.random() * 0.2)
            killed = chance.randrange(2)
            nodes[killed].node.kill()
            _check_counts([nodes[1 - killed]], turn, keys, chance)
            nodes[killed] = started()
            _check_counts(nodes, turn, keys, chance)


def _check_counts(nodes: list[Asked], turn: int, keys: list[str], chance: random.Random) -> None:
    """Asks until all that has been written is seen of each key, at each of the nodes."""
    left = dict.fromkeys((asked, key) for asked in nodes for key in keys)
    deadline = time.monotonic() + PATIENCE
    while left:
        asked, key = chance.choice(list(left))
        stale = {"stale": "ok"} if chance.random() < 0.2 else {}
        status, found = asked.get_once(f"stores/counts/{key}", **stale)
        if status == 200:
            least = 0 if "behind" in found else turn - 1
            assert least <= found["value"] <= turn, found
            if found["value"] == turn and not stale:
                del left[asked, key]
        elif status == 503:
            assert found["retry_after"] > 0, found
        else:  # before the first time of a key, or by a backup that is behind
            assert (status, found["error"]) == (404, "unknown-key")
            assert turn == 1 or stale
        assert time.monotonic() < deadline, (turn, found, len(left))
    for asked in nodes:
        status, found = asked.get("stores/counts", limit=1000)
        assert (status, _values(found)) == (200, [turn] * len(keys))


def test_a_node_that_slept_does_not_answer_of_what_it_has_lost(app: App) -> None:
    app.define("topology.stream(IN).group_by_key().count(name='counts').to(OUT)")
    app.topics("in", "out", partitions=1)
    app.write((0, "k", "{}"))
    settings = {"slots": 1, "backup_mode": "primary-backup", "http": ":0"}
    with app.start(**settings) as one:
        sleeper = Asked(one, app)
        _await_counts(sleeper, 1, ["k"])
        with app.start(**settings) as two, Client(sleeper.page, patience=0, timeout=60) as client:
            asked = Asked(two, app)
            _await_backups(app, two)
            processes = [one.process, *one.process.children(recursive=True)]
            for process in processes:
                process.suspend()
            app.write((0, "k", "{}"))
            _await_counts(asked, 2, ["k"])
            counts = client.store("counts", key=str, value=int)
            for process in processes:
                process.resume()
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    assert counts.get("k") == 2
                    break
                except StoreUnavailable:
                    time.sleep(0.01)
                assert time.monotonic() < deadline


def _await_backups(app: App, node: NodeProcess) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        (seen,) = map(json.loads, app.kproc("status", "--json").splitlines())
        if all(each["live"] and each["backups"] for each in seen["slots"]) and all(
            backup["state"] == "ready" for each in seen["slots"] for backup in each["backups"]
        ):
            return
        assert node.process.poll() is None
        assert time.monotonic() < deadline, seen


def _await_counts(asked: Asked, count: int, keys: list[str]) -> None:
    """Waits until each key has that count; none may have had more."""

    def holds(found: Any) -> bool:
        counts = _values(found)
        assert max(counts, default=0) <= count
        return counts == [count] * len(keys)

    asked.await_answer("stores/counts", holds)


def _values(found: Any) -> list[int]:
    return [each["value"] for each in found["entries"]]
