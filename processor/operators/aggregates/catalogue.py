"""Aggregates to choose from, for `agg`: what each starts with, adds, joins and emits.

All leave out what is None, as SQL does. A custom one is an `Aggregator` like those here. Knows
nothing of windows, keys and stores; what a step does with them is in `composed`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import blake2b
from importlib import import_module
from operator import add, itemgetter
from typing import Any, Generic, TypeAlias, TypeVar

from processor.errors import TopologyError
from processor.serdes.internal_values import pack, to_bytes
from processor.wording import adding

_INT64 = 2**63

R_co = TypeVar("R_co", covariant=True)

Of: TypeAlias = str | Callable[[Any], Any]
"""What of a value is aggregated: a field, or what a function makes of it."""


def one_more(count: int, item: Any) -> int:
    """What counting makes of an item."""
    del item
    return count + 1


def _itself(state: Any) -> Any:
    return state


@dataclass(frozen=True)
class Aggregator(Generic[R_co]):
    """How one part of an aggregate is made of many items; functions must not change items.

    Args:
        start: Makes the state that it begins with.
        add: The state with one more item; may be the changed old one.
        merge: One state of two, of which the first is the earlier; for sessions.
        result: What is emitted for a state; None: the state.
        of: What the items are: a field of the values, or what a function makes of them; None: the
            values.
        name: Distinguishes states that must not be mixed up; it is kept with them.
        state: The type of states, as they are kept; Any: what msgpack gives back unchanged.
        type: The type of results.
        timed: Whether items are pairs of the record's time (ms) and the item.
        dump: What is kept of a state, where that isn't the state itself.
        load: The state from what was kept.
    """

    start: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None = None
    result: Callable[[Any], R_co] = _itself
    of: Of | None = None
    name: str = "own"
    state: Callable[[Any], Any] = lambda _: Any
    type: Callable[[Any], Any] = lambda _: Any
    timed: bool = False
    dump: Callable[[Any], Any] = _itself
    load: Callable[[Any], Any] = _itself


def count(of: Of | None = None) -> Aggregator[int]:
    """How many records there are, or how many have something in a field.

    Example: `orders.group_by_key().agg(all=count(), paid=count("paid_at"))`.

    Args:
        of: A field of the values, or a function of the value: counted is what is not None; by
            default all records.

    Returns:
        The aggregator.
    """
    return Aggregator(int, one_more, add, of=of, name="count", type=lambda _: int)


def sum_of(of: Of) -> Aggregator[Any]:
    """The sum, 0 of nothing.

    Example: `agg(total=sum_of("amount"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return Aggregator(int, add, add, of=of, name="sum", state=_number, type=_itself)


def min_of(of: Of) -> Aggregator[Any]:
    """The smallest, None of nothing; of equal ones the first.

    Example: `agg(least=min_of("amount"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return _chosen("min", of, lambda so_far, item: item < so_far)


def max_of(of: Of) -> Aggregator[Any]:
    """The largest, None of nothing; of equal ones the first.

    Example: `agg(most=max_of("amount"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return _chosen("max", of, lambda so_far, item: item > so_far)


def first_of(of: Of | None = None) -> Aggregator[Any]:
    """That of the record with the lowest timestamp, None of nothing; of equal ones the first.

    Example: `agg(opened=first_of("at"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return _timed("first", of, lambda so_far, item: item[0] < so_far[0])


def last_of(of: Of | None = None) -> Aggregator[Any]:
    """That of the record with the highest timestamp, None of nothing; of equal ones the last.

    Example: `agg(state=last_of("state"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return _timed("last", of, lambda so_far, item: item[0] >= so_far[0])


def mean_of(of: Of) -> Aggregator[float | None]:
    """The arithmetic mean, None of nothing; the sum and the number are what is kept.

    Example: `agg(mean=mean_of("amount"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """
    return Aggregator(
        lambda: (0, 0),
        lambda state, item: (state[0] + item, state[1] + 1),
        lambda one, other: (one[0] + other[0], one[1] + other[1]),
        lambda state: state[0] / state[1] if state[1] else None,
        of,
        "mean",
        lambda item: tuple[_number(item), int],
        lambda _: float | None,
    )


def collect_of(of: Of | None = None, *, distinct: bool = False) -> Aggregator[list[Any]]:
    """All of them in order of arrival, with `distinct` each once; it grows without bounds.

    Example: `agg(items=collect_of("item", distinct=True))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.
        distinct: Whether equal ones are kept once.

    Returns:
        The aggregator.
    """

    def added(state: list[Any], item: Any) -> list[Any]:
        if not distinct or item not in state:
            state.append(item)
        return state

    def merged(one: list[Any], other: list[Any]) -> list[Any]:
        for item in other:
            added(one, item)
        return one

    name = "collect-distinct" if distinct else "collect"
    return Aggregator(list, added, merged, list, of, name, _list_of, _list_of)


def distinct_of(of: Of | None = None) -> Aggregator[int]:
    """How many different ones there are, exactly: all of them are kept.

    Example: `agg(users=distinct_of("user"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.

    Returns:
        The aggregator.
    """

    def added(state: set[Any], item: Any) -> set[Any]:
        state.add(item)
        return state

    def merged(one: set[Any], other: set[Any]) -> set[Any]:
        return one | other

    def state(item: Any) -> Any:
        return set[item]

    return Aggregator(set, added, merged, len, of, "distinct", state, lambda _: int)


def top_of(of: Of, number: int, *, by: Of | None = None) -> Aggregator[list[Any]]:
    """The largest, in descending order, or with `by` those with the largest of that.

    Example: `agg(best=top_of("item", 3, by="amount"))`.

    Args:
        of: A field of the values, or a function of the value; by default the values themselves.
        number: How many, at most.
        by: What they are ranked by: a field or a function; by default what is kept itself.

    Returns:
        The aggregator.
    """
    if number < 1:
        raise TopologyError(f"top_of({of!r}, {number}): how many are to be kept? 1 at least")

    def added(state: list[Any], item: Any) -> list[Any]:
        return sorted([*state, item], key=itemgetter(0), reverse=True)[:number]

    def merged(one: list[Any], other: list[Any]) -> list[Any]:
        return sorted([*one, *other], key=itemgetter(0), reverse=True)[:number]

    return Aggregator(
        list,
        added,
        merged,
        lambda state: [item for _, item in state],
        Ranked(of, by),
        f"top {number}",
        lambda item: list[tuple[Any if by else item, item]],
        _list_of,
    )


@dataclass(frozen=True)
class Ranked:
    """A pair for each value: what it is ranked by, and what is kept; both fields or functions."""

    of: Of
    by: Of | None
    getters: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None

    def bound(self, getter: Callable[[Of], Callable[[Any], Any]]) -> "Ranked":
        """With the functions that get the fields."""
        return replace(self, getters=(getter(self.by or self.of), getter(self.of)))

    def __call__(self, value: Any) -> tuple[Any, Any] | None:
        """The pair; None where one of them is None."""
        assert self.getters is not None
        rank, item = (get(value) for get in self.getters)
        return None if rank is None or item is None else (rank, item)


def approx_distinct_of(of: Of | None = None, *, precision: int = 12) -> Aggregator[int]:
    """About how many different ones there are: a HyperLogLog sketch of bounded size.

    Equal ones are one: 1, 1.0 and Decimal("1.00"). What it gives depends on which there are alone,
    and not on their order, or on which sessions were joined when.

    Args:
        of: What is counted: what a store can keep without its type, such as str, bytes, numbers,
            dates, UUID and tuples of these.
        precision: The sketch has 2 to this power registers: with 12 about 2.5 KB and an error of
            1.6 % (one standard deviation), with each one more half as many.

    Returns:
        The aggregator.

    Raises:
        TopologyError: The package datasketches is not installed.
    """
    library = _sketches("approx_distinct_of")

    def added(sketch: Any, item: Any) -> Any:
        sketch.update(item if type(item) is str and item else _distinct(item))
        return sketch

    def merged(one: Any, other: Any) -> Any:
        union = library.hll_union(precision)
        union.update(one)
        union.update(other)
        return union.get_result(library.tgt_hll_type.HLL_8)

    def estimate(sketch: Any) -> int:
        # Joined with itself it estimates by its registers, which know of no order.
        return round(merged(sketch, sketch).get_estimate())

    return Aggregator(
        lambda: library.hll_sketch(precision, library.tgt_hll_type.HLL_8),
        added,
        merged,
        estimate,
        of,
        f"approx-distinct {precision}",
        lambda _: bytes,
        lambda _: int,
        dump=lambda sketch: sketch.serialize_compact(),
        load=library.hll_sketch.deserialize,
    )


def _distinct(item: Any) -> int | float:
    """A number that is the same for equal items, and for no others but by a rare chance.

    Sketches take integers of 64 bits, floats, and texts that are not empty.
    """
    if isinstance(item, Decimal) and item.is_finite():
        item = int(item) if item == item.to_integral_value() else item.normalize()
        if isinstance(item, Decimal) and Decimal(float(item)) == item:
            return float(item)
    if isinstance(item, float):
        if not item.is_integer():
            return item
        item = int(item)
    if isinstance(item, int) and -_INT64 <= item < _INT64:
        return int(item)
    return int.from_bytes(blake2b(to_bytes(pack(item)), digest_size=8).digest(), signed=True)


def approx_quantiles_of(of: Of, *ranks: float, size: int = 200) -> Aggregator[list[float]]:
    """About the quantiles: `approx_quantiles_of("delay", 0.5, 0.99)`; a KLL sketch.

    Its rank error is about 1.65 % with the size 200 (at 99 % confidence), and it draws lots, so
    that two runs over the same records may differ by that. Of nothing the result is an empty list.

    Args:
        of: What is measured: numbers.
        ranks: From 0 to 1.
        size: The sketch's k; larger is more exact.

    Returns:
        The aggregator, whose results are lists, one quantile for each rank.

    Raises:
        TopologyError: The package datasketches is not installed, or a rank is out of range.
    """
    if not ranks or not all(0 <= rank <= 1 for rank in ranks):
        raise TopologyError(f"approx_quantiles_of({of!r}): give ranks from 0 to 1, not {ranks}")
    library = _sketches("approx_quantiles_of")

    def added(sketch: Any, item: Any) -> Any:
        sketch.update(item)
        return sketch

    def merged(one: Any, other: Any) -> Any:
        one.merge(other)
        return one

    return Aggregator(
        lambda: library.kll_doubles_sketch(size),
        added,
        merged,
        lambda sketch: [] if sketch.is_empty() else list(map(float, sketch.get_quantiles(ranks))),
        of,
        f"approx-quantiles {size}",
        lambda _: bytes,
        lambda _: list[float],
        dump=lambda sketch: sketch.serialize(),
        load=library.kll_doubles_sketch.deserialize,
    )


def _sketches(asked: str) -> Any:
    try:
        return import_module("datasketches")
    except ImportError as error:
        raise TopologyError(
            f"{asked} needs the package datasketches: {adding('sketches')}, on Python 3.13 or "
            "older. It has no wheels for newer ones, so that the extra leaves it out there"
        ) from error


def _number(item: Any) -> Any:
    return Any if item in {int, float, bool, Any} else item | int


def _list_of(item: Any) -> Any:
    return list[item]


def _or_none(item: Any) -> Any:
    return Any if item is Any else item | None


def _chosen(name: str, of: Of, better: Callable[[Any, Any], bool]) -> Aggregator[Any]:
    def chosen(so_far: Any, item: Any) -> Any:
        return item if so_far is None or (item is not None and better(so_far, item)) else so_far

    return Aggregator(_nothing, chosen, chosen, of=of, name=name, state=_or_none, type=_or_none)


def _timed(name: str, of: Of | None, better: Callable[[Any, Any], bool]) -> Aggregator[Any]:
    def state(item: Any) -> Any:
        return tuple[int, item] | None

    def result(state: Any) -> Any:
        return None if state is None else state[1]

    chosen = _chosen(name, of or _itself, better)
    return replace(chosen, of=of, result=result, state=state, timed=True)


def _nothing() -> None:
    return None


def names_of(of: Of | Ranked | None) -> Iterable[str]:
    """What an aggregator is of, as its name has it."""
    if isinstance(of, Ranked):
        yield from names_of(of.of)
        yield from (f"by {name}" for name in names_of(of.by))
    elif of is not None:
        yield of if isinstance(of, str) else getattr(of, "__name__", "function")
