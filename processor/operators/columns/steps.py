"""Steps that evaluate column expressions on whole batches, and keep no state.

Knows of expressions only that they are evaluated; Polars is loaded when somebody uses one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from importlib import import_module
from itertools import compress
from operator import not_
from typing import TYPE_CHECKING, Any, cast

import msgspec

from processor.attempt import attempt
from processor.errors import TopologyError
from processor.operators.base import AnyBatch, Context, Operator, Outputs
from processor.operators.columns.lazy import LazyValues, fill, made_of
from processor.wording import adding

if TYPE_CHECKING:
    from polars import Expr
    from typing_extensions import TypeIs

    from processor.operators.columns.evaluation import Columns


def polars() -> Any:
    """The library, loaded when a topology needs it; with one thread, as a worker has one core.

    Raises:
        TopologyError: It is not installed.
    """
    if "polars" not in sys.modules:
        os.environ.setdefault("POLARS_MAX_THREADS", "1")
    try:
        return import_module("polars")
    except ImportError as error:
        raise TopologyError(f"column expressions need Polars: {adding('columns')}") from error


def is_expression(thing: object) -> TypeIs[Expr]:
    """Whether it is a column expression; Polars is not loaded to find that out."""
    library: Any = sys.modules.get("polars")
    return library is not None and isinstance(thing, library.Expr)


@dataclass(frozen=True, eq=False)
class FilterColumns(Operator):
    """Keeps the rows for which the expression is true, or with `keep=False` is not."""

    function: Columns
    keep: bool = True

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the rows kept."""
        (mask,), batch = _evaluated(self.function, batch, context)
        mask = mask if self.keep else list(map(not_, mask))
        values = batch.values
        if not isinstance(values, LazyValues) or values.is_made:
            return (batch.select(mask),)
        rows = batch.with_values(range(len(batch))).select(mask)
        return (rows.with_values(values.select(mask)),)


@dataclass(frozen=True, eq=False)
class KeyByColumn(Operator):
    """Replaces each key by what the expression gives."""

    function: Columns

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other keys."""
        (keys,), batch = _evaluated(self.function, batch, context)
        return (batch.with_keys(keys),)


@dataclass(frozen=True, eq=False)
class SelectColumns(Operator):
    """Replaces each value by what the expressions give, under their names.

    Args:
        function: The expressions.
        names: Theirs in the new values.
        added: Whether the fields of the old value stay, unless there is a new one of the name.
        model: What the new values are, made with the names as keywords; None: dicts.
    """

    function: Columns
    names: tuple[str, ...]
    added: bool
    model: Callable[..., Any] | None

    def process(self, batch: AnyBatch, context: Context) -> Outputs:
        """One batch: the same rows with other values."""
        columns, batch = _evaluated(self.function, batch, context)
        named = dict(zip(self.names, columns, strict=True))
        if not self.added:
            values: Sequence[Any] = LazyValues(named)
        elif ready := made_of(batch.values):
            values = LazyValues({**ready, **named})
        else:
            values, batch = self._added(named, batch, context)
        if self.model is None:
            return (batch.with_values(values),)
        made, batch = context.call(self._made, batch, values)
        return (batch.with_values(made),)

    def _added(
        self, named: Mapping[str, Sequence[Any]], batch: AnyBatch, context: Context
    ) -> tuple[list[dict[str, Any]], AnyBatch]:
        """The fields that the values have and the new ones."""
        values, faults = attempt(fields_of, batch.values)
        if faults:
            bad = {row for row, _ in faults}
            left = [row not in bad for row in range(len(batch))]
            named = {name: list(compress(column, left)) for name, column in named.items()}
            batch = context.reject(batch, faults, "function")
        fill(values, named, named.values())
        return values, batch

    def _made(self, named: dict[str, Any]) -> Any:
        assert self.model is not None
        return self.model(**named)


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a value as a new dict.

    Raises:
        TypeError: It has none.
    """
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).copy()
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    kind = cast("Any", type(value))
    if is_dataclass(kind):
        return {each.name: getattr(value, each.name) for each in fields(kind)}
    if hasattr(kind, "_asdict"):  # a named tuple
        return value._asdict()
    if hasattr(kind, "__pydantic_fields__"):
        return dict(value)
    raise TypeError(f"a {kind.__name__} has no fields")


def _evaluated(
    columns: Columns, batch: AnyBatch, context: Context
) -> tuple[list[list[Any]], AnyBatch]:
    """The results, and the rows left: those that did not fail."""
    results, faults = columns.evaluate(batch.values)
    return results, context.reject(batch, faults, "function") if faults else batch
