"""Whether what a query wrote to Kafka is right: against its recomputation, whoever wrote it.

Where a query writes changes, the last one of each key counts.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from tests.benchmarks.nexmark import recomputed
from tests.benchmarks.nexmark.events import Bid
from tests.benchmarks.nexmark.inputs import SIDE
from tests.benchmarks.nexmark.recomputed import Log
from tests.ledger import Row

_SHOWN: Final = 300


def difference(number: int, log: Log, rows: Iterable[Row]) -> str:
    """What is wrong with a query's results; empty if they are right.

    Query 12 goes by the wall clock: of each bidder it is only known how many bids there are in all.
    """
    expected, found = _expected(number, log), _FOUND[number](rows)
    keys = expected.keys() | found.keys()
    wrong = [each for each in keys if found.get(each) != expected.get(each)]
    if not wrong:
        return ""
    one, other = (str(each.get(wrong[0]))[:_SHOWN] for each in (found, expected))
    return f"{len(wrong)} of {len(expected)} are wrong: {wrong[0]} is {one}, not {other}"


def _expected(number: int, log: Log) -> Mapping[Any, Any]:
    match number:
        case 0 | 1 | 2 | 3:
            return _counted(getattr(recomputed, f"q{number}")(log))
        case 12:
            return Counter(bid.bidder for bid in log.bids)
        case 13:
            return _counted(recomputed.q13(log, SIDE))
        case _:
            return getattr(recomputed, f"q{number}")(log)


def _counted(rows: Iterable[Any]) -> Counter[bytes]:
    return Counter(msgspec.json.encode(row, order="sorted") for row in rows)


def _all(rows: Iterable[Row]) -> Counter[bytes]:
    return _counted(msgspec.json.decode(row.value or b"null") for row in rows)


def _latest(rows: Iterable[Row], key: Callable[[bytes], Any]) -> dict[Any, Any]:
    last = {row.key or b"": row.value for row in rows}
    return {key(of): msgspec.json.decode(value) for of, value in last.items() if value is not None}


def _by_id(rows: Iterable[Row]) -> dict[int, Any]:
    return _latest(rows, lambda key: int.from_bytes(key, "big"))


def _by_number(rows: Iterable[Row]) -> dict[int, Any]:
    return _latest(rows, msgspec.json.decode)


def _by_window(rows: Iterable[Row]) -> dict[tuple[int, int, int], int]:
    fields = msgspec.json.decode
    return _latest(rows, lambda key: tuple(fields(key)[name] for name in ("key", "start", "end")))


def _suggestions(rows: Iterable[Row]) -> Counter[bytes]:
    return _counted(_by_id(rows).values())


def _hottest(rows: Iterable[Row]) -> dict[int, tuple[int, list[int]]]:
    return {end: (row["number"], row["auctions"]) for end, row in _by_id(rows).items()}


def _highest(rows: Iterable[Row]) -> dict[int, list[Bid]]:
    return {
        start: sorted(msgspec.convert(row["bids"], list[Bid]), key=lambda bid: bid.date_time)
        for start, row in _by_id(rows).items()
    }


def _per_bidder(rows: Iterable[Row]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for (bidder, _, _), count in _by_window(rows).items():
        counts[bidder] += count
    return counts


_FOUND: Final[Mapping[int, Callable[[Iterable[Row]], Mapping[Any, Any]]]] = {
    0: _all,
    1: _all,
    2: _all,
    3: _suggestions,
    4: _by_number,
    5: _hottest,
    6: _by_number,
    7: _highest,
    8: _by_id,
    11: _by_window,
    12: _per_bidder,
    13: _all,
}
