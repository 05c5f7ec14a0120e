"""Random tables of tables in random topologies, for Hypothesis."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from processor import GroupedTable, Table
from tests.properties.topologies import (
    Accepts,
    Adds,
    AnyStream,
    Fn,
    Maker,
    Making,
    NewKey,
    NewValue,
    weigh,
)

AnyTable = Table[Any, Any]


class Weighs(Fn):
    """A small number, so that filters and groups behind it meet equal ones again."""

    def __call__(self, value: Any) -> Any:
        self.poison(value)
        return (weigh(value) + self.number) % 9 or None


class Groups(Fn):
    def __call__(self, value: Any) -> Any:
        self.poison(value)
        return f"g{weigh(value) % 2}"


class Totals(Fn):
    def __call__(self, so_far: Any, value: Any) -> Any:
        return weigh(so_far) + weigh(value)


class Without(Fn):
    def __call__(self, so_far: Any, value: Any) -> Any:
        return weigh(so_far) - weigh(value) or None


MADE: list[Callable[[Making, AnyStream], AnyTable]] = [
    lambda m, s: s.to_table(name=m.name(), emit=m.emit()),
    lambda m, s: s.to_table(name=m.name(), emit=m.emit()),
    lambda m, s: s.group_by_key().count(name=m.name(), emit=m.emit()),
    lambda m, s: s.group_by_key().reduce(Adds(m.number()), name=m.name(), emit=m.emit()),
    lambda m, s: s.group_by_key().aggregate(dict, Adds(m.number()), name=m.name(), emit=m.emit()),
]
DERIVED: list[Callable[[Making, AnyTable], AnyTable]] = [
    lambda m, t: t.filter(Accepts(m.number()), name=m.name()),
    lambda m, t: t.filter_not(Accepts(m.number()), name=m.name()),
    lambda m, t: t.map_values(NewValue(m.number()), name=m.name()),
    lambda m, t: t.map_values(Weighs(m.number()), name=m.name()),
]
GROUPED: list[Callable[[Making, GroupedTable[Any, Any]], AnyTable]] = [
    lambda m, g: g.count(name=m.name(), emit=m.emit()),
    lambda m, g: g.reduce(
        Totals(m.number()), Without(m.number()), name=m.name(), emit=m.emit(), value=Any
    ),
    lambda m, g: g.reduce(
        Adds(m.number()), Adds(m.number()), name=m.name(), emit=m.emit(), value=Any
    ),
    lambda m, g: g.aggregate(
        dict, Adds(m.number()), Adds(m.number()), name=m.name(), emit=m.emit()
    ),
]


def _several(making: Making, stream: AnyStream) -> list[AnyStream]:
    """Some tables, each made of one before it."""
    draw = making.draw
    tables = [draw(st.sampled_from(MADE))(making, stream)]
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from(tables))
        if draw(st.booleans()):
            tables.append(draw(st.sampled_from(DERIVED))(making, table))
        else:
            by = draw(st.sampled_from([Groups, NewKey]))(making.number())
            grouped = table.group_by(by, name=making.name())
            tables += [
                draw(st.sampled_from(GROUPED))(making, grouped)
                for _ in range(draw(st.integers(1, 2)))
            ]
    return [table.to_stream() for table in tables]


STEPS: list[Maker] = [_several]
