"""What of Polars' expressions a stream can use: reads them, and takes aggregates apart.

A step works on batches, but its results are those of one record at a time. So an expression must
make each row's result of that row alone. What is known to do so is listed here, by the names that
Polars' own serialization has for it; all else is refused. Knows nothing of batches and steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, NamedTuple, cast

from polars import Expr

from processor.errors import TopologyError
from processor.operators.aggregates.catalogue import (
    Aggregator,
    count,
    distinct_of,
    first_of,
    last_of,
    max_of,
    mean_of,
    min_of,
    sum_of,
)

_OPERATORS = frozenset(
    """
    Eq EqValidity NotEq NotEqValidity Lt LtEq Gt GtEq And Or Xor LogicalAnd LogicalOr
    Plus Minus Multiply TrueDivide FloorDivide Modulus
    """.split()  # noqa: SIM905 - as a list it is a column of words
)
_FUNCTIONS = frozenset(
    """
    Abs AsStruct Ceil Clip Coalesce Exp FillNull Floor Log Log1p MaxHorizontal MeanHorizontal
    MinHorizontal Negate Replace ReplaceStrict Round RoundSF Sign Truncate
    Pow.Cbrt Pow.Generic Pow.Sqrt Trigonometry.Cos Trigonometry.Sin Trigonometry.Tan
    Boolean.AllHorizontal Boolean.AnyHorizontal Boolean.IsBetween Boolean.IsClose Boolean.IsFinite
    Boolean.IsIn Boolean.IsInfinite Boolean.IsNan Boolean.IsNotNan Boolean.IsNotNull
    Boolean.IsNull Boolean.Not
    StringExpr.ConcatHorizontal StringExpr.Contains StringExpr.ContainsAny
    StringExpr.CountMatches StringExpr.EndsWith StringExpr.EscapeRegex StringExpr.Extract
    StringExpr.ExtractAll StringExpr.Find StringExpr.Format StringExpr.Head
    StringExpr.JsonPathMatch StringExpr.LenBytes StringExpr.LenChars StringExpr.Lowercase
    StringExpr.PadEnd StringExpr.PadStart StringExpr.Replace StringExpr.Reverse StringExpr.Slice
    StringExpr.Split StringExpr.StartsWith StringExpr.StripChars StringExpr.StripCharsEnd
    StringExpr.StripCharsStart StringExpr.StripPrefix StringExpr.StripSuffix StringExpr.Strptime
    StringExpr.Tail StringExpr.Titlecase StringExpr.ToInteger StringExpr.Uppercase
    StringExpr.ZFill
    TemporalExpr.ConvertTimeZone TemporalExpr.Date TemporalExpr.Day TemporalExpr.Hour
    TemporalExpr.IsLeapYear TemporalExpr.IsoYear TemporalExpr.Microsecond TemporalExpr.Millisecond
    TemporalExpr.Minute TemporalExpr.Month TemporalExpr.OrdinalDay TemporalExpr.Quarter
    TemporalExpr.ReplaceTimeZone TemporalExpr.Second TemporalExpr.Time TemporalExpr.TimeStamp
    TemporalExpr.ToString TemporalExpr.TotalDays TemporalExpr.TotalHours
    TemporalExpr.TotalMicroseconds TemporalExpr.TotalMilliseconds TemporalExpr.TotalMinutes
    TemporalExpr.TotalSeconds TemporalExpr.Truncate TemporalExpr.Week TemporalExpr.WeekDay
    TemporalExpr.Year
    ListExpr.Contains ListExpr.Get ListExpr.Join ListExpr.Length ListExpr.Max ListExpr.Mean
    ListExpr.Min ListExpr.Slice ListExpr.Sort
    StructExpr.FieldByName
    """.split()  # noqa: SIM905 - likewise
)
_FAMILIES = frozenset(name.partition(".")[0] for name in _FUNCTIONS if "." in name)
_CASTS = frozenset(
    """
    Boolean Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64 String
    Date Datetime Duration Time
    """.split()  # noqa: SIM905 - likewise
)
_AGGREGATES: dict[str, Callable[[Any], Aggregator[Any]]] = {
    "Sum": sum_of,
    "Mean": mean_of,
    "First": first_of,
    "FirstNonNull": first_of,
    "Last": last_of,
    "LastNonNull": last_of,
    "NUnique": distinct_of,
}
_GROWING = {"Plus", "Minus", "Multiply", "FloorDivide"}
_WHOLE = range(-(2**63), 2**63)


class Growing(NamedTuple):
    """A part whose integers could grow out of their type: what it does, and of what."""

    operator: str
    whole: Expr
    parts: tuple[Expr, ...]


class Casting(NamedTuple):
    """A part that becomes another type."""

    whole: Expr
    part: Expr


def check(expression: Expr, what: str) -> None:
    """Makes sure that each row's result depends on that row alone.

    Raises:
        TopologyError: It may depend on others, or is not known not to.
    """
    _check(_tree(expression, what), what)


def growing(expression: Expr) -> Iterator[Growing]:
    """The parts of a checked expression in which integers could overflow."""
    for node in _nodes(_tree(expression, "")):
        match node:
            case {"BinaryExpr": {"left": left, "op": operator, "right": right}}:
                if operator in _GROWING:
                    yield Growing(operator, _made(node), (_made(left), _made(right)))
            case {"Function": {"input": [*parts], "function": function}}:
                name = _name(function)
                if name in {"Abs", "Negate", "Pow.Generic"}:
                    yield Growing(name, _made(node), tuple(map(_made, parts)))
            case _:
                pass


def parts(expression: Expr) -> Iterator[Expr]:
    """A checked expression and all that it is made of."""
    return map(_made, _nodes(_tree(expression, "")))


def casts(expression: Expr) -> Iterator[Casting]:
    """The parts of a checked expression that become another type."""
    for node in _nodes(_tree(expression, "")):
        match node:
            case {"Cast": {"expr": inner}}:
                yield Casting(_made(node), _made(inner))
            case _:
                pass


def aggregate(expression: Expr, what: str) -> tuple[Callable[[Any], Aggregator[Any]], Expr | None]:
    """The aggregate that an expression such as `col("amount").sum()` stands for, and what it is of.

    That is a checked expression as well; None: of the records.

    Raises:
        TopologyError: It is not one of those that are supported.
    """
    match _unnamed(_tree(expression, what)):
        case "Len":
            return count, None
        case {"Agg": {"Count": {"input": inner, "include_nulls": every}}}:
            return count, _checked(_present(inner) if every else inner, what)
        case {"Agg": {"Min": {"input": inner}}}:
            return min_of, _checked(inner, what)
        case {"Agg": {"Max": {"input": inner}}}:
            return max_of, _checked(inner, what)
        case {"Agg": {**kinds}} if _head(kinds) in _AGGREGATES:
            return _AGGREGATES[_head(kinds)], _checked(kinds[_head(kinds)], what)
        case _:
            raise TopologyError(
                f"{what}: {expression} is no aggregate that can be kept: end it with sum(), min(), "
                "max(), mean(), count(), len(), first(), last() or n_unique(), or use one such as "
                "collect_of, top_of or an Aggregator of your own"
            )


def _unnamed(tree: Any) -> Any:
    match tree:
        case {"Alias": [inner, _]}:
            return _unnamed(inner)
        case _:
            return tree


def _checked(tree: Any, what: str) -> Any:
    """What an aggregate is of; what its filter leaves out is None, which aggregates leave out."""
    match tree:
        case {"Filter": {"input": inner, "by": predicate}}:
            nothing = {"Literal": {"Scalar": {"Null": "Null"}}}
            tree = {"Ternary": {"predicate": predicate, "truthy": inner, "falsy": nothing}}
        case _:
            pass
    _check(tree, what)
    return _made(tree)


def _present(tree: Any) -> Any:
    """True for each row, whatever it has; under a filter, for those that this leaves."""
    true = {"Literal": {"Scalar": {"Boolean": True}}}
    match tree:
        case {"Filter": {"input": _, "by": predicate}}:
            return {"Filter": {"input": true, "by": predicate}}
        case _:
            return {"Function": {"input": [true, tree], "function": "Coalesce"}}


def _tree(expression: Expr, what: str) -> Any:
    try:
        return json.loads(expression.meta.serialize(format="json"))
    except Exception as error:
        raise TopologyError(
            f"{what}: a column expression can't call functions: use one without columns, as in "
            "map_values(function)"
        ) from error


def _made(tree: Any) -> Expr:
    return Expr.deserialize(StringIO(json.dumps(tree)), format="json")


def _check(tree: Any, what: str) -> None:
    for node in _nodes(tree):
        problem = _problem(node)
        if problem:
            raise TopologyError(f"{what}: {problem}")


def _nodes(tree: Any) -> Iterator[Any]:
    """All parts, of each the whole before its parts; of literals and of what is not known none."""
    yield tree
    match tree:
        case {"Alias": [inner, _]} | {"Cast": {"expr": inner}}:
            parts = [inner]
        case {"BinaryExpr": {"left": left, "right": right}}:
            parts = [left, right]
        case {"Ternary": {"predicate": predicate, "truthy": truthy, "falsy": falsy}}:
            parts = [predicate, truthy, falsy]
        case {"Function": {"input": [*parts]}}:
            pass
        case _:
            parts = []
    for part in parts:
        yield from _nodes(part)


def _problem(node: Any) -> str | None:
    """What is wrong with a part by itself, None if nothing is."""
    problem = None
    match node:
        case {"Column": _} | {"Alias": _} | {"Ternary": _} | {"Literal": {"Scalar": _}}:
            pass
        case {"Literal": {"Dyn": {"Int": number}}}:
            problem = None if number in _WHOLE else f"{number} has more than 64 bits"
        case {"Literal": {"Dyn": _}}:
            pass
        case {"BinaryExpr": {"op": operator}} if operator in _OPERATORS:
            pass
        case {"Cast": {"dtype": {"Literal": dtype}, "options": "Strict" | "NonStrict"}}:
            problem = None if _head(dtype) in _CASTS else f"there is no cast to {_head(dtype)}"
        case {"Function": {"input": [*parts], "function": function}}:
            problem = _problem_of(_name(function), parts, function)
        case {"Selector": _}:
            problem = "name each column: col('amount') instead of a pattern or several names"
        case _:
            problem = _refused(_head(node))
    return problem


_MAPPINGS = ("Replace", "ReplaceStrict")


def _problem_of(name: str, parts: list[Any], function: Any) -> str | None:
    if name == "Boolean.IsIn" and "Literal" not in parts[1]:
        return "is_in takes a list of values, not a column"
    if name in _MAPPINGS and any("Literal" not in part for part in parts[1:3]):
        return "replace takes the old and the new values as such, not as columns"
    if name == "StringExpr.Strptime" and not function["StringExpr"]["Strptime"][1]["format"]:
        return 'say in which format times are, as in str.to_datetime("%Y-%m-%dT%H:%M:%S")'
    return None if name in _FUNCTIONS else _refused(name)


def _refused(name: str) -> str:
    return (
        f"{name} may look at more than one record, or is not known not to: use what works on each "
        "by itself, an aggregate in agg(...), or a function"
    )


def _name(function: Any) -> str:
    """As `Round` or `StringExpr.Contains`."""
    head = _head(function)
    return f"{head}.{_head(function[head])}" if head in _FAMILIES else head


def _head(node: Any) -> str:
    return str(next(iter(cast("Any", node)))) if isinstance(node, dict) else str(node)
