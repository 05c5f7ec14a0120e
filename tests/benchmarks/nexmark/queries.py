"""Nexmark's queries 0 to 8, 11, 12 and 13 as topologies.

    kproc run tests.benchmarks.nexmark.queries:q5

Windows right behind these
topics wait for what is up to four seconds late, as in Nexmark's SQL. Behind a repartition topic
they wait an hour, and emit what they have: the tasks in front of it do not keep step while they
catch up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from processor import (
    JoinWindow,
    ProcessContext,
    Record,
    Stream,
    Table,
    Timestamp,
    Topology,
    Windowed,
    hopping,
    session,
    tumbling,
    wall_clock,
)
from tests.benchmarks.nexmark.events import SIDE_ROWS, Auction, Bid, Person
from tests.benchmarks.nexmark.inputs import AUCTIONS, BIDS, PERSONS, RUN, SIDE_INPUT, output

GRACE, BEHIND = "4s", "1h"
LONGEST = "1m"  # no auction lasts longer


def query(name: str) -> Topology:
    return Topology(f"{RUN}-{name}")


def persons(topology: Topology) -> Stream[int, Person]:
    return topology.stream(PERSONS, key=int, value=Person, timestamp="date_time")


def auctions(topology: Topology) -> Stream[int, Auction]:
    return topology.stream(AUCTIONS, key=int, value=Auction, timestamp="date_time")


def bids(topology: Topology) -> Stream[int, Bid]:
    return topology.stream(BIDS, key=int, value=Bid, timestamp="date_time")


# 0: all bids as they are.

q0 = query("q0")
bids(q0).to(output("q0"))


# 1: prices in euro.

q1 = query("q1")
bids(q1).map_values(
    lambda bid: {
        "auction": bid.auction,
        "bidder": bid.bidder,
        "price": 0.908 * bid.price,
        "date_time": bid.date_time,
        "extra": bid.extra,
    }
).to(output("q1"))


# 2: the bids for some auctions.

q2 = query("q2")
chosen = bids(q2).filter(lambda bid: bid.auction % 123 == 0)
chosen.map_values(lambda bid: {"auction": bid.auction, "price": bid.price}).to(output("q2"))


# 3: who sells in Oregon, Idaho or California in category 10, and in which auctions.


def suggestion(auction: Auction, person: Person) -> dict[str, Any]:
    return {
        "name": person.name,
        "city": person.city,
        "state": person.state,
        "id": auction.id,
    }


q3 = query("q3")
local = persons(q3).to_table().filter(lambda person: person.state in {"OR", "ID", "CA"})
offered = auctions(q3).filter(lambda auction: auction.category == 10).to_table(name="offered")
offered.join(local, suggestion, on="seller", name="suggestions").to(output("q3"))


# 4: the average of the winning bids of each category.


class Offer(msgspec.Struct, frozen=True):
    """A bid, and what matters of its auction."""

    auction: int
    seller: int
    category: int
    expires: int
    price: int
    date_time: int


def offer(auction: Auction, bid: Bid) -> Offer:
    return Offer(
        auction.id, auction.seller, auction.category, auction.expires, bid.price, bid.date_time
    )


def higher(one: Offer, other: Offer) -> Offer:
    return other if other.price > one.price else one


def offers(topology: Topology) -> Stream[int, Offer]:
    """By auction: bids from its beginning until it expires."""
    found = auctions(topology).join(
        bids(topology), offer, within=JoinWindow(after=LONGEST, grace=GRACE), name="offers"
    )
    return found.filter(lambda offer: offer.date_time <= offer.expires)


@dataclass
class Sum:
    """So many prices, and their sum."""

    number: int = 0
    total: int = 0

    def plus(self, price: int) -> "Sum":
        return Sum(self.number + 1, self.total + price)

    def minus(self, price: int) -> "Sum":
        return Sum(self.number - 1, self.total - price)

    def mean(self) -> int | None:
        return self.total // self.number if self.number else None


q4 = query("q4")
winning = offers(q4).group_by_key().reduce(higher, name="winning")
by_category = winning.group_by("category").aggregate(
    Sum,
    lambda prices, offer: prices.plus(offer.price),
    lambda prices, offer: prices.minus(offer.price),
    name="categories",
)
by_category.map_values(Sum.mean).to(output("q4"))


# 5: the auctions with the most bids in the last ten seconds, every two seconds.


class Hottest(msgspec.Struct, frozen=True):
    """The auctions with the most bids of all."""

    number: int
    auctions: list[int]


def hotter(one: Hottest, other: Hottest) -> Hottest:
    if one.number != other.number:
        return max(one, other, key=lambda hottest: hottest.number)
    return Hottest(one.number, sorted({*one.auctions, *other.auctions}))


def by_window(
    record: Record[Windowed[int], int], context: ProcessContext
) -> Iterator[Record[int, Hottest]]:
    """A window's count under the window's end, and at its last millisecond."""
    end = record.key.end
    yield Record(end, Hottest(record.value, [record.key.key]), Timestamp(end - 1))


q5 = query("q5")
per_auction = (
    bids(q5)
    .group_by_key()
    .window(hopping("10s", every="2s", grace=GRACE))
    .count(name="per-auction")
)
(
    per_auction.to_stream()
    .process(by_window, name="windows")
    .group_by_key()
    .window(tumbling("2s", grace=BEHIND), emit="checkpoint")
    .reduce(hotter, name="hottest")
    .to_stream()
    .map(lambda window, hottest: (window.key, hottest))
    .to(output("q5"), key=int)
)


# 6: each seller's average price of the last ten auctions that are closed.


def with_closed(last: list[Offer], offer: Offer) -> list[Offer]:
    return sorted([*last, offer], key=lambda each: (each.expires, each.auction))[-10:]


def average(last: list[Offer]) -> int:
    return sum(offer.price for offer in last) // len(last)


q6 = query("q6")
closed = (  # all offers of an auction are one session, as none lasts longer than the gap
    offers(q6).group_by_key().window(session(LONGEST, grace=GRACE)).reduce(higher, name="closed")
)
last_ten: Table[int, list[Offer]] = (
    closed.to_stream()
    .group_by("seller")
    .aggregate(list, with_closed, name="last-ten", value=list[Offer])
)
last_ten.map_values(average).to(output("q6"))


# 7: the highest bids of each ten seconds.


class Highest(msgspec.Struct, frozen=True):
    """The bids with the highest price of all."""

    price: int
    bids: list[Bid]


def highest(one: Highest, other: Highest) -> Highest:
    if one.price != other.price:
        return max(one, other, key=lambda highest: highest.price)
    return Highest(one.price, [*one.bids, *other.bids])


def alone(bid: Bid) -> Highest:
    return Highest(bid.price, [bid])


def by_start(window: Windowed[int], highest: Highest) -> tuple[int, Highest]:
    return window.start, highest


q7 = query("q7")
(
    bids(q7)
    .map_values(alone)
    .group_by_key()
    .window(tumbling("10s", grace=GRACE))
    .reduce(highest, name="of-auctions")  # so that less goes through the repartition topic
    .to_stream()
    .map(by_start, name="starts")
    .group_by_key()
    .window(tumbling("10s", grace=BEHIND), emit="checkpoint")
    .reduce(highest, name="of-all")
    .to_stream()
    .map(lambda window, highest: (window.key, highest))
    .to(output("q7"), key=int)
)


# 8: who has come and opened an auction in the same ten seconds.


class Newcomer(msgspec.Struct, frozen=True):
    """A person, and the times of arrival and of an auction."""

    id: int
    name: str
    came: int
    opened: int


def newcomer(person: Person, auction: Auction) -> Newcomer:
    return Newcomer(person.id, person.name, person.date_time, auction.date_time)


q8 = query("q8")
(
    persons(q8)
    .join(
        auctions(q8).key_by("seller"),
        newcomer,
        within=JoinWindow("10s", grace=BEHIND),
        name="newcomers",
    )
    .filter(lambda newcomer: newcomer.came // 10_000 == newcomer.opened // 10_000)
    .map_values(lambda n: {"id": n.id, "name": n.name, "start": n.came // 10_000 * 10_000})
    .group_by_key()
    .reduce(lambda first, _: first, name="once")
    .to(output("q8"), key=int)
)


# 11: how many bids each bidder made in a session.

q11 = query("q11")
sessions = bids(q11).group_by("bidder").window(session("10s", grace=BEHIND), emit="checkpoint")
sessions.count(name="sessions").to(output("q11"))


# 12: how many bids each bidder made in ten seconds on the wall clock.

q12 = query("q12")
(
    q12.stream(BIDS, key=int, value=Bid, timestamp=wall_clock)
    .group_by("bidder")
    .window(tumbling("10s", grace=GRACE))
    .count(name="counts")
    .to(output("q12"))
)


# 13: bids with what a table says.


def side_key(_: int, bid: Bid) -> int:
    return bid.auction % SIDE_ROWS


def enriched(bid: Bid, value: str) -> dict[str, Any]:
    return {
        "auction": bid.auction,
        "bidder": bid.bidder,
        "price": bid.price,
        "date_time": bid.date_time,
        "value": value,
    }


q13 = query("q13")
side_input = q13.global_table(SIDE_INPUT, key=int, value=str)
bids(q13).join(side_input, enriched, on=side_key).to(output("q13"))
