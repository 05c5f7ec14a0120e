"""The workloads: what goes in, always the same, and what has to come out.

Records are `{"user":"u123","amount":0..999,"ts":epoch ms}` keyed by user, the users skewed as
`int(10000 * random() ** 3)`. `ts` grows by 1 ms from record to record and is its timestamp.
Payments are the same from another seed; the table has a row `{"tier": ...}` for each user.
"""

import random
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise, starmap
from typing import Any, Final, NamedTuple, TypeAlias

START: Final = 1_700_000_000_000
USERS: Final = 10_000
WINDOW: Final = 10_000
GAP: Final = 1_000
WITHIN: Final = 100
GRACE: Final = 1_000
"""All in milliseconds but for the users."""

INPUT, PAYMENTS, TABLE = "peers-input", "peers-payments", "peers-table"
TIERS = ("gold", "silver", "bronze")

Keyed: TypeAlias = tuple[str, bytes, int]
Results: TypeAlias = Mapping[Any, Any]


class Event(NamedTuple):
    """One record of an input."""

    user: str
    amount: int
    ts: int


def events(topic: str, count: int) -> Iterator[Event]:
    """The records of an input."""
    chance = random.Random(topic)
    for number in range(count):
        user = f"u{int(USERS * chance.random() ** 3)}"
        yield Event(user, int(1000 * chance.random()), START + number)


def rows(topic: str, count: int) -> Iterator[Keyed]:
    """Keys, values and timestamps of what a topic has."""
    if topic == TABLE:
        for number in range(USERS):
            yield f"u{number}", b'{"tier":"%b"}' % tier(f"u{number}").encode(), START - 1
        return
    for user, amount, ts in events(topic, count):
        yield user, b'{"user":"%b","amount":%d,"ts":%d}' % (user.encode(), amount, ts), ts


def tier(user: str) -> str:
    """What the table has for a user."""
    return TIERS[int(user[1:]) % len(TIERS)]


def checksum(results: Iterable[tuple[Any, ...]]) -> Results:
    """Of results whose order does not matter."""
    count = total = 0
    for result in results:
        count += 1
        total += zlib.crc32(repr(result).encode())
    return {"records": count, "checksum": total}


def expected_sessions(count: int) -> Results:
    """Of each user and session: how many records it has."""
    times = defaultdict[str, list[int]](list)
    for user, _, ts in events(INPUT, count):
        times[user].append(ts)
    found: dict[tuple[str, int], int] = {}
    for user, all_of_one in times.items():
        begin, records = all_of_one[0], 1
        for before, now in pairwise(all_of_one):
            if now - before > GAP:
                found[user, begin] = records
                begin, records = now, 0
            records += 1
        found[user, begin] = records
    return found


def expected_join(count: int) -> Results:
    """Of all pairs of an order and a payment of one user that are near each other."""
    paid = defaultdict[str, list[Event]](list)
    for event in events(PAYMENTS, count):
        paid[event.user].append(event)
    times = {user: [each.ts for each in all_of_one] for user, all_of_one in paid.items()}

    def pairs() -> Iterator[tuple[Any, ...]]:
        for user, amount, ts in events(INPUT, count):
            near = times.get(user, [])
            for at in range(bisect_left(near, ts - WITHIN), bisect_right(near, ts + WITHIN)):
                yield user, amount, ts, paid[user][at].amount, paid[user][at].ts

    return checksum(pairs())


def expected_sum(count: int) -> Results:
    """Of each user and window."""
    found = Counter[tuple[str, int]]()
    for user, amount, ts in events(INPUT, count):
        found[user, ts // WINDOW * WINDOW] += amount
    return found


class Workload(NamedTuple):
    """What a job reads, what has to come of that, and how its output is read.

    A result of a `last` workload counts under its key until another one comes.
    """

    inputs: tuple[str, ...]
    expected: Callable[[int], Results]
    result: Callable[[str, Any], tuple[Any, ...]]
    last: bool


WORKLOADS: Final[Mapping[str, Workload]] = {
    "map": Workload(
        (INPUT,),
        lambda count: checksum((*each, True) for each in events(INPUT, count) if each[1] >= 500),
        lambda user, value: (user, value["amount"], value["ts"], value["big"]),
        last=False,
    ),
    "count": Workload(
        (INPUT,),
        lambda count: Counter(each.user for each in events(INPUT, count)),
        lambda user, value: (user, value),
        last=True,
    ),
    "sum": Workload(
        (INPUT,),
        expected_sum,
        lambda user, value: ((user, value["start"]), value["sum"]),
        last=True,
    ),
    "enrich": Workload(
        (INPUT, TABLE),
        lambda count: checksum((*each, tier(each.user)) for each in events(INPUT, count)),
        lambda user, value: (user, value["amount"], value["ts"], value["tier"]),
        last=False,
    ),
    "sessions": Workload(
        (INPUT,),
        expected_sessions,
        lambda user, value: ((user, value["start"]), value["count"]),
        last=True,
    ),
    "join": Workload(
        (INPUT, PAYMENTS),
        expected_join,
        lambda user, value: (user, value["amount"], value["ts"], value["paid"], value["at"]),
        last=False,
    ),
}


def difference(name: str, count: int, found: Iterable[tuple[str, Any]]) -> str:
    """What is wrong with the users and values that a run has written; empty: nothing."""
    workload = WORKLOADS[name]
    made = starmap(workload.result, found)
    expected = workload.expected(count)
    results = dict(made) if workload.last else checksum(made)
    if results == expected:
        return ""
    wrong = [key for key in {*results, *expected} if results.get(key) != expected.get(key)]
    first = min(wrong, key=str)
    return (
        f"{len(wrong)} of {len(expected)} results are wrong, such as {first}: "
        f"{results.get(first)} in place of {expected.get(first)}"
    )
