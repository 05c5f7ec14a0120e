"""Random windows in random topologies, for Hypothesis."""

from typing import Any

from hypothesis import strategies as st

from processor import (
    Aggregator,
    calendar,
    collect_of,
    count,
    counted,
    distinct_of,
    first_of,
    hopping,
    last_of,
    max_of,
    mean_of,
    session,
    sliding,
    sum_of,
    top_of,
    tumbling,
)
from processor.errors import TopologyError
from processor.topology.flow import flow_of
from processor.topology.windowed import WindowedStream, WindowedTable
from tests.properties.topologies import Adds, AnyStream, Fn, Looks, Maker, Making, NoJson, weigh

GRACES = [0, 0, 0.003, 0.02]
KINDS = ["tumbling", "hopping", "calendar", "session", "sliding", "counted"]


class Weighs(Fn):
    """What is aggregated of a value."""

    def __call__(self, value: Any) -> Any:
        self.poison(value)
        return (weigh(value) + self.number) % 7 or None


class Lists(Fn):
    """An aggregate in which the order of records shows; some records it refuses."""

    def __call__(self, so_far: list[int], value: Any) -> list[int]:
        self.poison(value)
        so_far.append(weigh(value))
        return so_far


class Joins(Fn):
    """Joins two aggregates of sessions, in place."""

    def __call__(self, earlier: Any, later: Any) -> Any:
        if isinstance(earlier, NoJson) or isinstance(later, NoJson):
            return NoJson()
        if (weigh(earlier) + weigh(later)) % 13 == self.number % 13:
            return None
        if isinstance(earlier, dict) and isinstance(later, dict):
            earlier["n"] = weigh(earlier) + weigh(later)
            return earlier
        return weigh(earlier) + weigh(later)


def _windows(making: Making, kind: str) -> Any:
    grace = making.draw(st.sampled_from(GRACES))
    size = making.draw(st.sampled_from([0.004, 0.01, 0.015]))
    match kind:
        case "hopping":
            return hopping(size, every=making.draw(st.sampled_from([0.002, 0.003])), grace=grace)
        case "calendar":
            return calendar("day", tz="Asia/Kathmandu", grace=grace)
        case "session":
            return session(size, grace=grace)
        case "sliding":
            return sliding(size, grace=grace)
        case "counted":
            return counted(making.draw(st.integers(1, 3)))
        case _:
            return tumbling(size, grace=grace)


def _parts(making: Making) -> dict[str, Aggregator[Any]]:
    of = Weighs(making.number())
    return {
        "n": count(of),
        "sum": sum_of(of),
        "max": max_of(of),
        "mean": mean_of(of),
        "first": first_of(of),
        "last": last_of(of),
        "all": collect_of(of),
        "different": distinct_of(of),
        "top": top_of(of, 2),
    }


def _windowed(making: Making, stream: AnyStream) -> list[AnyStream]:
    kind = making.draw(st.sampled_from(KINDS))
    options: dict[str, Any] = {}
    if kind != "counted":
        options["emit"] = making.draw(st.sampled_from(["close", "close", "change", "checkpoint"]))
        options["late"] = making.draw(st.sampled_from([None, "skip", "dead-letter"]))
        options["retention"] = making.draw(st.sampled_from([None, 0.05]))
        if options["emit"] == "close":
            options["early"] = making.draw(st.sampled_from([None, 0.002, 0.01]))
    grouped = stream.group_by_key().window(_windows(making, kind), **options)
    table = _table(making, grouped, kind)
    made = [table.to_stream()]
    if kind != "counted" and making.draw(st.booleans()):
        made.append(table.late())
    if options.get("early") and making.draw(st.booleans()):
        made.append(table.final())
    return made


def _table(
    making: Making, windows: WindowedStream[Any, Any], kind: str
) -> WindowedTable[Any, Any, Any]:
    name = making.name()
    number = making.number()
    match making.draw(st.sampled_from(["count", "lists", "agg", "dict", "reduce"])):
        case "count":
            return windows.count(name=name)
        case "agg":
            return windows.agg(name=name, **_parts(making))
        case "dict" if kind != "sliding":
            merge = Joins(making.number())
            return windows.aggregate(dict, Adds(number), merge=merge, name=name)
        case "reduce" if kind not in {"sliding", "session"}:
            return windows.reduce(Adds(number), name=name)
        case _:
            return windows.aggregate(
                list, Lists(number), merge=lambda one, other: one + other, name=name
            )


def _cogrouped(making: Making, stream: AnyStream) -> list[AnyStream]:
    kind = making.draw(st.sampled_from(KINDS))
    start, fold = (list, Lists) if kind == "sliding" else (dict, Adds)
    one, other = (
        each.peek(Looks(making.number()), name=making.name()) if flow_of(each).rekeyed else each
        for each in (stream, making.stream())
    )
    cogrouped = one.group_by_key().cogroup(fold(making.number()))
    cogrouped = cogrouped.cogroup(other.group_by_key(), fold(making.number()))
    emits = ["close"] if kind == "counted" else ["close", "change", "checkpoint"]
    windowed = cogrouped.window(_windows(making, kind), emit=making.draw(st.sampled_from(emits)))
    try:
        made = windowed.aggregate(start, merge=Joins(making.number()), name=making.name())
    except TopologyError:  # keys with other bytes
        return []
    return [made.to_stream()]


STEPS: list[Maker] = [_windowed, _windowed, _cogrouped]
