"""Nexmark's persons, auctions and bids, made from a seed: the same ones in every run.

Proportions, ids and hot keys are those of https://github.com/nexmark/nexmark with its defaults. Of
50 events one is a person, three are auctions and 46 are bids; every second bid is for a hot
auction, three of four are by a hot bidder, three of four auctions by a hot seller. Ids may run
ahead a little, so that some bids come before their auction, and some auctions before their seller.

Here 100 events are a second, so that small runs have some windows; an auction lasts up to 34 s.
"""

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Final, TypeAlias

import msgspec

BEGIN: Final = 1_700_000_000_000
"""The time of the first event, milliseconds."""
PER_SECOND: Final = 100
EPOCH: Final = 50
"""One person, three auctions, 46 bids."""
FIRST_ID: Final = 1000
SIDE_ROWS: Final = 10_000

_CATEGORIES, _IN_FLIGHT, _ACTIVE, _LEAD, _HOT = range(10, 15), 100, 1000, 10, 100
_LONGEST = 2 * (_IN_FLIGHT * EPOCH // 3) * 1000 // PER_SECOND
_STATES = ["AZ", "CA", "ID", "OR", "WA", "WY"]
_CITIES = ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Seattle"]
_FIRST_NAMES = ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah"]
_LAST_NAMES = ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones"]
_CHANNELS = ["Google", "Facebook", "Baidu", "Apple", *(f"channel-{n}" for n in range(10_000))]
_FILLER = "abcdefghijklmnopqrstuvwxyz" * 20


class Person(msgspec.Struct, frozen=True):
    """Someone who sells and bids."""

    id: int
    name: str
    email: str
    credit_card: str
    city: str
    state: str
    date_time: int
    extra: str


class Auction(msgspec.Struct, frozen=True):
    """Something for sale, until `expires`."""

    id: int
    item_name: str
    description: str
    initial_bid: int
    reserve: int
    date_time: int
    expires: int
    seller: int
    category: int
    extra: str


class Bid(msgspec.Struct, frozen=True):
    """An offer for an auction; prices in cents."""

    auction: int
    bidder: int
    price: int
    channel: str
    url: str
    date_time: int
    extra: str


Event: TypeAlias = Person | Auction | Bid


def events(count: int, *, seed: int = 1, disorder: int = 1) -> Iterator[Event]:
    """So many events; with `disorder` each group of so many of them comes in random order."""
    random = Random(seed)
    made = (_event(number, random) for number in range(count))
    while group := list(islice(made, disorder)):
        random.shuffle(group)
        yield from group


def _event(number: int, random: Random) -> Event:
    time = BEGIN + number * 1000 // PER_SECOND
    match number % EPOCH:
        case 0:
            return _person(number, time, random)
        case 1 | 2 | 3:
            return _auction(number, time, random)
        case _:
            return _bid(number, time, random)


def _person(number: int, time: int, random: Random) -> Person:
    first, last = random.choice(_FIRST_NAMES), random.choice(_LAST_NAMES)
    return Person(
        FIRST_ID + _last_person(number),
        f"{first} {last}",
        f"{first}.{last}@example.com".lower(),
        " ".join(f"{random.randrange(10_000):04}" for _ in range(4)),
        random.choice(_CITIES),
        random.choice(_STATES),
        time,
        _extra(100, random),
    )


def _auction(number: int, time: int, random: Random) -> Auction:
    hot = random.randrange(4) > 0
    seller = _last_person(number) // _HOT * _HOT if hot else _some_person(number, random)
    initial = _price(random)
    return Auction(
        FIRST_ID + _last_auction(number),
        _extra(20, random),
        _extra(100, random),
        initial,
        initial + _price(random),
        time,
        time + 1 + random.randrange(_LONGEST),
        FIRST_ID + seller,
        random.choice(_CATEGORIES),
        _extra(250, random),
    )


def _bid(number: int, time: int, random: Random) -> Bid:
    last = _last_auction(number)
    if random.randrange(2):
        auction = last // _HOT * _HOT
    else:
        auction = random.randint(max(last - _IN_FLIGHT, 0), last + _LEAD)
    hot = random.randrange(4) > 0
    bidder = _last_person(number) // _HOT * _HOT + 1 if hot else _some_person(number, random)
    channel = _CHANNELS[random.randrange(4 if random.randrange(2) else len(_CHANNELS))]
    url = f"https://www.nexmark.com/{channel}/item.htm?query=1"
    price, extra = _price(random), _extra(30, random)
    return Bid(FIRST_ID + auction, FIRST_ID + bidder, price, channel, url, time, extra)


def _last_person(number: int) -> int:
    return number // EPOCH


def _last_auction(number: int) -> int:
    epoch, offset = divmod(number, EPOCH)
    return epoch * 3 + min(offset, 3) - 1


def _some_person(number: int, random: Random) -> int:
    """One of the active people, or of those who come soon."""
    people = _last_person(number) + 1
    active = min(people, _ACTIVE)
    return people - active + random.randrange(active + _LEAD)


def _price(random: Random) -> int:
    return round(10 ** (random.random() * 6) * 100)


def _extra(size: int, random: Random) -> str:
    """Text of about so many letters."""
    begin = random.randrange(26)
    return _FILLER[begin : begin + random.randint(size * 4 // 5, size * 6 // 5)]
