"""What Nexmark's queries should give, worked out from a list of all events.

The definitions are those of the SQL in https://github.com/nexmark/nexmark
(nexmark-flink/src/main/resources/queries), and where that differs from the query's own words, of
these words, which are those of Apache Beam's suite:

- Query 6, which Flink can't run: the last ten closed auctions, in the order of their ends; auctions
  that nobody bids for are not sold. All auctions are closed at the end of the events.
- Query 7: windows without their ends; the SQL takes a bid at the end as one of this window, too.
- Query 12: a bid's time is given by the caller, as the wall clock has no definition.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tests.benchmarks.nexmark.events import Auction, Bid, Event, Person

SIZE, STEP = 10_000, 2_000


class Log(NamedTuple):
    """The events, by kind."""

    persons: list[Person]
    auctions: list[Auction]
    bids: list[Bid]


def log(events: Iterable[Event]) -> Log:
    made = Log([], [], [])
    for event in events:
        match event:
            case Person():
                made.persons.append(event)
            case Auction():
                made.auctions.append(event)
            case Bid():
                made.bids.append(event)
    return made


def q0(log: Log) -> list[Bid]:
    return log.bids


def q1(log: Log) -> list[dict[str, Any]]:
    fields = ("auction", "bidder", "date_time", "extra")
    return [_fields(bid, fields) | {"price": 0.908 * bid.price} for bid in log.bids]


def _fields(bid: Bid, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(bid, name) for name in names}


def q2(log: Log) -> list[dict[str, Any]]:
    return [{"auction": b.auction, "price": b.price} for b in log.bids if b.auction % 123 == 0]


def q3(log: Log) -> list[dict[str, Any]]:
    sellers = {p.id: p for p in log.persons if p.state in {"OR", "ID", "CA"}}
    return [
        {"name": seller.name, "city": seller.city, "state": seller.state, "id": auction.id}
        for auction in log.auctions
        if auction.category == 10 and (seller := sellers.get(auction.seller))
    ]


def winning(log: Log) -> Iterator[tuple[Auction, int]]:
    """Auctions with their highest bids."""
    prices: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for bid in log.bids:
        prices[bid.auction].append((bid.date_time, bid.price))
    for auction in log.auctions:
        in_time = [
            price
            for time, price in prices[auction.id]
            if auction.date_time <= time <= auction.expires
        ]
        if in_time:
            yield auction, max(in_time)


def q4(log: Log) -> dict[int, int]:
    """By category."""
    finals: defaultdict[int, list[int]] = defaultdict(list)
    for auction, price in winning(log):
        finals[auction.category].append(price)
    return {category: sum(prices) // len(prices) for category, prices in finals.items()}


def q5(log: Log) -> dict[int, tuple[int, list[int]]]:
    """By the end of the window: how many bids, and the auctions that have so many."""
    counts: defaultdict[int, Counter[int]] = defaultdict(Counter)
    for bid in log.bids:
        first_end = bid.date_time // STEP * STEP + STEP
        for end in range(first_end, bid.date_time + SIZE + 1, STEP):
            counts[end][bid.auction] += 1
    tops = {end: max(found.values()) for end, found in counts.items()}
    return {
        end: (tops[end], sorted(each for each, number in found.items() if number == tops[end]))
        for end, found in counts.items()
    }


def q6(log: Log) -> dict[int, int]:
    """By seller."""
    prices: defaultdict[int, list[int]] = defaultdict(list)
    for auction, price in sorted(winning(log), key=lambda each: (each[0].expires, each[0].id)):
        prices[auction.seller].append(price)
    return {seller: sum(each[-10:]) // len(each[-10:]) for seller, each in prices.items()}


def q7(log: Log) -> dict[int, list[Bid]]:
    """By the window's start, bids in order of their times."""
    windows: defaultdict[int, list[Bid]] = defaultdict(list)
    for bid in log.bids:
        windows[bid.date_time // SIZE * SIZE].append(bid)
    return {
        start: sorted((b for b in bids if b.price == max(b.price for b in bids)), key=_time)
        for start, bids in windows.items()
    }


def _time(bid: Bid) -> int:
    return bid.date_time


def q8(log: Log) -> dict[int, dict[str, Any]]:
    """By person."""
    opened = {(auction.seller, auction.date_time // SIZE) for auction in log.auctions}
    return {
        p.id: {"id": p.id, "name": p.name, "start": p.date_time // SIZE * SIZE}
        for p in log.persons
        if (p.id, p.date_time // SIZE) in opened
    }


def q11(log: Log) -> dict[tuple[int, int, int], int]:
    """By bidder, first bid and just after the last bid."""
    times: defaultdict[int, list[int]] = defaultdict(list)
    for bid in log.bids:
        times[bid.bidder].append(bid.date_time)
    found: dict[tuple[int, int, int], int] = {}
    for bidder, each in times.items():
        session: list[int] = []
        for time in [*sorted(each), None]:
            if session and (time is None or time - session[-1] > SIZE):
                found[bidder, session[0], session[-1] + 1] = len(session)
                session = []
            if time is not None:
                session.append(time)
    return found


def q12(bids: Iterable[tuple[int, Bid]]) -> dict[tuple[int, int], int]:
    """By bidder and the window's start, from bids with the times at which they were processed."""
    return Counter((bid.bidder, time // SIZE * SIZE) for time, bid in bids)


def q13(log: Log, side: Sequence[str]) -> list[dict[str, Any]]:
    fields = ("auction", "bidder", "price", "date_time")
    return [_fields(b, fields) | {"value": side[b.auction % len(side)]} for b in log.bids]
