"""Evaluates column expressions on values, as `attempt` calls a function on them.

A value that fails is distinguished from the others. The types of columns are those that the
stream's type has for its fields, or each value's own; so what a row gives never depends on others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from itertools import compress, product, repeat
from operator import setitem
from types import NoneType
from typing import Any, TypeAlias, cast

import polars as pl
from polars import DataType, Expr

from processor.attempt import Fault, attempt
from processor.operators.columns.lazy import made_of
from processor.operators.columns.plans import ColumnError, Plan

Kind: TypeAlias = "DataType | type"
"""The type of a column; for the simple ones that of its values, which is found faster."""

_SCHEMAS = 256
"""For how many combinations of types it is remembered what they give."""
_OPTIONAL = 4
"""Of how many fields that are None at times it is tried what that means."""
_ABSENT = (pl.Int64(), pl.String(), pl.Datetime("us"), pl.Boolean())
"""What the type of a field may be that is None and of no known type."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Expressions, and how the fields that they need are got from values.

    Args:
        expressions: Checked ones, see `expressions.check`.
        names: The fields that they need.
        getters: One for each of these.
        types: Theirs, None where each value's own counts.
    """

    expressions: tuple[Expr, ...]
    names: tuple[str, ...]
    getters: tuple[Callable[[Any], Any], ...]
    types: tuple[DataType | None, ...]
    plan: Callable[[tuple[Kind, ...]], Plan | ColumnError] = field(init=False)
    alike: Callable[[tuple[Kind, ...], tuple[int, ...]], bool] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", lru_cache(_SCHEMAS)(self._plan))
        object.__setattr__(self, "alike", lru_cache(_SCHEMAS)(self._alike))

    @property
    def __name__(self) -> str:
        """What descriptions call it: by the fields."""
        return " ".join(self.names)

    @property
    def known(self) -> Sequence[DataType] | None:
        """The types of the results, None where they depend on the values.

        Raises:
            ColumnError: With these fields the expressions make no sense.
        """
        types = [each for each in self.types if each is not None]
        if len(types) < len(self.types):
            return None
        plan = self.plan(tuple(types))
        if isinstance(plan, ColumnError):
            raise plan
        return plan.results

    def evaluate(self, values: Sequence[Any]) -> tuple[list[list[Any]], list[Fault]]:
        """The results as columns, of the values that did not fail, and those that did."""
        numbers: Sequence[int] = range(len(values))
        faults: list[Fault] = []
        while numbers:
            columns, failed = self._tried(values)
            if not failed:
                return columns, sorted(faults, key=lambda fault: fault.row)
            faults += [Fault(numbers[row], error) for row, error in failed]
            bad = {row for row, _ in failed}
            left = [row not in bad for row in range(len(values))]
            values, numbers = list(compress(values, left)), list(compress(numbers, left))
        return [[] for _ in self.expressions], sorted(faults, key=lambda fault: fault.row)

    def _plan(self, kinds: tuple[Kind, ...]) -> Plan | ColumnError:
        """With what None stands for: nothing, or what the expressions can be evaluated on."""
        schema = tuple(_scalars().get(kind, cast("DataType", kind)) for kind in kinds)
        failed: ColumnError | None = None
        for absent in (pl.Null(), *_ABSENT) if pl.Null() in schema else (pl.Null(),):
            types = tuple(absent if each == pl.Null() else each for each in schema)
            try:
                return Plan.made(self.expressions, self.names, types)
            except ColumnError as error:
                failed = failed or error
        assert failed is not None
        return failed

    def _alike(self, kinds: tuple[Kind, ...], optional: tuple[int, ...]) -> bool:
        """Whether all parts have the same types where the optional fields are None.

        Then rows with None can be evaluated together with the others, and otherwise not: if 1.5 and
        None were in one column, what is made of the None and an integer would be a fraction.
        """
        plan = self.plan(kinds)
        if isinstance(plan, ColumnError) or len(optional) > _OPTIONAL:
            return False
        for absent in product((False, True), repeat=len(optional)):
            there = dict(zip(optional, absent, strict=True))
            other = self.plan(
                tuple(NoneType if there.get(row) else kind for row, kind in enumerate(kinds))
            )
            if isinstance(other, ColumnError) or not other.is_part_of(plan):
                return False
        return True

    def _tried(self, values: Sequence[Any]) -> tuple[list[list[Any]], list[Fault]]:
        """All columns, or some of the rows that fail."""
        columns: list[Sequence[Any]] = []
        kinds: list[Kind | list[Kind]] = []
        present: list[Kind | None] = []
        ready = made_of(values)
        for name, get, known in zip(self.names, self.getters, self.types, strict=True):
            column, faults = ready.get(name, ()), list[Fault]()
            if name not in ready:
                column, faults = attempt(get, values)
            kind: Kind | list[Kind] = known if known is not None else []
            if known is None and not faults:
                kind, faults = _kinds(column)
            if faults:
                return [], faults
            columns.append(column)
            kinds.append(kind)
            present.append(_present(kind))
        whole = tuple(kind for kind in present if kind is not None)
        optional = tuple(row for row, kind in enumerate(kinds) if isinstance(kind, list))
        if len(whole) == len(kinds) and (not optional or self.alike(whole, optional)):
            return self._of_kinds(whole, columns, len(values))
        return self._by_kinds(columns, kinds, len(values))

    def _of_kinds(
        self, kinds: tuple[Kind, ...], columns: Sequence[Sequence[Any]], size: int
    ) -> tuple[list[list[Any]], list[Fault]]:
        plan = self.plan(kinds)
        if isinstance(plan, ColumnError):
            return [], [Fault(row, plan) for row in range(size)]
        return plan.run(columns, size)

    def _by_kinds(
        self, columns: Sequence[Sequence[Any]], kinds: Sequence[Kind | list[Kind]], size: int
    ) -> tuple[list[list[Any]], list[Fault]]:
        """Those of equal types together."""
        each = [kind if isinstance(kind, list) else repeat(kind, size) for kind in kinds]
        alike: list[tuple[Kind, ...]] = list(zip(*each, strict=True))
        made: list[list[Any]] = [[None] * size for _ in self.expressions]
        faults: list[Fault] = []
        for which in dict.fromkeys(alike):
            rows = [row for row, other in enumerate(alike) if other == which]
            own = [list(map(column.__getitem__, rows)) for column in columns]
            results, failed = self._of_kinds(which, own, len(rows))
            faults += [Fault(rows[row], error) for row, error in failed]
            for column, result in zip(made, results, strict=False):
                deque(map(setitem, repeat(column), rows, result), maxlen=0)
        return made, faults


# Types


def _kinds(column: Sequence[Any]) -> tuple[Kind | list[Kind], list[Fault]]:
    """The type of all values, or of each."""
    types = set(map(type, column))
    if not types <= _scalars().keys():
        return cast("tuple[list[Kind], list[Fault]]", attempt(_kind, column))
    return types.pop() if len(types) == 1 else list(map(type, column)), []


def _present(kind: Kind | list[Kind]) -> Kind | None:
    """That of all values which are not None, if they have one."""
    if not isinstance(kind, list):
        return kind
    found = set(kind) - {NoneType}
    return found.pop() if len(found) == 1 else None


def _kind(value: Any) -> DataType:
    """The type that a column needs for a value.

    Raises:
        ColumnError: No column has that type.
    """
    scalar = _scalars().get(type(value))
    if scalar is not None:
        return scalar
    if type(value) is datetime:
        return pl.Datetime("us", None if value.tzinfo is None else "UTC")
    if type(value) is dict:
        parts = cast("dict[str, Any]", value)
        return pl.Struct({name: _kind(part) for name, part in parts.items()})
    if type(value) is list:
        return pl.List(_common(map(_kind, cast("list[Any]", value))))
    raise ColumnError(f"no column can have a {type(value).__name__}: use a function for it")


def _common(kinds: Iterable[DataType]) -> DataType:
    null = pl.Null()
    found = {*kinds, null} - {null}
    if len(found) > 1:
        raise ColumnError("the items of a list are of different types: use a function for it")
    return next(iter(found), null)


@lru_cache(1)
def _scalars() -> dict[Any, DataType]:
    """The types that say what a column of such values is."""
    return {
        NoneType: pl.Null(),
        bool: pl.Boolean(),
        int: pl.Int64(),
        float: pl.Float64(),
        str: pl.String(),
        bytes: pl.Binary(),
        date: pl.Date(),
        time: pl.Time(),
        timedelta: pl.Duration("us"),
    }


def dtype_of(annotation: Any) -> DataType | None:
    """The type of a column for a field with that annotation; None: each value's own."""
    if annotation is None or annotation is NoneType or not isinstance(annotation, type):
        return None
    return _scalars().get(annotation)


def type_of(dtype: DataType) -> Any:
    """The type of what comes out of a column."""
    return dtype.to_python()
