"""Payments that look like fraud: a stolen card is tried with small sums first, then used.

    kproc run topologies/fraud.py --dev --until-end

Three payments under a dollar within ten minutes, and one of more than 500 dollars less than an hour
after the last of them: that raises an alarm. The payments are made from a seed; some cards in them
are stolen. Both topics are Avro, by the schemas in `schemas/`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from random import Random

from processor import ProcessContext, Record, Timestamp, Topology, avro, every, key_value

SCHEMAS = Path(__file__).parent.parent / "schemas"

PAYMENTS, CARDS, STOLEN = 20_000, 200, 100
SMALL, LARGE = 100, 50_000  # cents
TRIES, TRIED_WITHIN, USED_WITHIN = 3, 600_000, 3_600_000  # milliseconds
BEGIN = 1_700_000_000_000


@dataclass(frozen=True)
class Payment:
    """What a card has paid; cents."""

    card: str
    amount: int
    shop: str


@dataclass(frozen=True)
class Alarm:
    """A large payment after small ones; cents, milliseconds since 1970."""

    card: str
    amount: int
    shop: str
    tried: list[int]


@dataclass
class Tries:
    """The times of a card's last small payments."""

    times: list[int] = field(default_factory=list[int])


payment = avro(SCHEMAS / "payment.avsc", Payment)
alarm = avro(SCHEMAS / "alarm.avsc", Alarm)
tries = key_value("tries", key=str, value=Tries)


def watch(record: Record[str, Payment], context: ProcessContext) -> Iterator[Record[str, Alarm]]:
    """Notes small payments, and raises an alarm for a large one that follows on them."""
    store, paid, now = context.store(tries), record.value, record.timestamp
    known = store.get(paid.card, Tries())
    if paid.amount < SMALL:
        recent = [time for time in known.times if now - time < TRIED_WITHIN]
        store.put(paid.card, Tries([*recent, now][-TRIES:]))
    elif paid.amount > LARGE and len(known.times) == TRIES:
        if now - known.times[-1] < USED_WITHIN:
            raised = Alarm(paid.card, paid.amount, paid.shop, known.times)
            yield Record(paid.card, raised, now)
        store.delete(paid.card)


def forget(now: Timestamp, context: ProcessContext) -> None:
    """Drops what no alarm can follow on any more."""
    store = context.store(tries)
    for card, known in list(store.items()):
        if now - known.times[-1] >= USED_WITHIN:
            store.delete(card)


def payments() -> Iterator[Record[str, Payment]]:
    """Some a second; of every hundredth card a thief has the number."""
    random = Random(1)  # noqa: S311 - the same ones each time
    times = (Timestamp(BEGIN + 700 * number) for number in count())
    for time in islice(times, PAYMENTS):
        card = random.randrange(CARDS)
        cents = round(10 ** random.uniform(1.7, 4.4))
        if card % STOLEN == 0:
            cents = random.choice([SMALL - 1, SMALL - 1, SMALL - 1, LARGE + cents])
        name = f"card-{card:03}"
        yield Record(name, Payment(name, cents, f"shop-{random.randrange(100)}"), time)


topology = Topology("fraud")
topology.sample_data("payments", payments, count=PAYMENTS, value=payment)
(
    topology.stream("payments", value=payment)
    .process(watch, stores=[tries], punctuators=[every("10m", forget)], name="watch")
    .to("alarms", value=alarm)
)
