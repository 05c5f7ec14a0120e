"""What column expressions become: evaluations of a stream's fields, and the forms of their results.

Imported when a topology uses an expression, as Polars is with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, cast

from polars import Expr, col

from processor.errors import TopologyError
from processor.operators.aggregates.catalogue import Aggregator
from processor.operators.columns import expressions
from processor.operators.columns.evaluation import Columns, dtype_of, type_of
from processor.operators.columns.plans import ColumnError
from processor.operators.columns.steps import is_expression
from processor.serdes.types import plain_type, uses_pydantic
from processor.topology.form import Form

Column = Expr | str


def columns(value: Form, given: Sequence[Column], what: str) -> Columns:
    """The evaluation of expressions, or fields of a name, on values of a form.

    Raises:
        TopologyError: They are not such as can be evaluated on each value by itself, or a field is
            not there or not of a type that columns can have.
    """
    checked = [_expression(each, what) for each in given]
    names = tuple(dict.fromkeys(name for each in checked for name in each.meta.root_names()))
    found = [value.field(name) for name in names]
    types = tuple(form.type and dtype_of(plain_type(form.type)) for _, form in found)
    made = Columns(tuple(checked), names, tuple(get for get, _ in found), types)
    try:
        made.known  # noqa: B018 - asked for whether they make sense
    except ColumnError as error:
        raise TopologyError(f"{what}: {error}") from error
    return made


def forms(evaluated: Columns) -> Sequence[Form]:
    """The forms of the results."""
    if evaluated.known is None:
        return [Form() for _ in evaluated.expressions]
    return [Form(type_of(dtype)) for dtype in evaluated.known]


def predicate(value: Form, given: Expr, what: str) -> Columns:
    """The evaluation of an expression that is true or not.

    Raises:
        TopologyError: It is another.
    """
    made = columns(value, [given], what)
    (form,) = forms(made)
    if form.type not in {None, bool}:
        raise TopologyError(f"{what}: {given} is not true or false; compare it with something")
    return made


def named(
    positional: Sequence[Column], by_name: Mapping[str, Column], what: str
) -> dict[str, Column]:
    """All by the names of their results.

    Raises:
        TopologyError: No column is given, or two have the same name.
    """
    made: dict[str, Column] = {}
    for each in positional:
        expression = _expression(each, what)
        name = expression.meta.output_name()
        if name in made:
            raise TopologyError(f"{what}: two columns are called {name!r}; give one an alias()")
        made[name] = expression
    if both := made.keys() & by_name.keys():
        raise TopologyError(f"{what}: two columns are called {min(both)!r}; name one otherwise")
    made |= by_name
    if not made:
        raise TopologyError(f'{what}: name a column at least, such as total=col("amount") * 2')
    return made


def record(value: Form, names: Sequence[str], evaluated: Columns, *, added: bool) -> Form:
    """The form of dicts with these results, and with `added` the fields of the value as well."""
    types = {name: form.type for name, form in zip(names, forms(evaluated), strict=True)}
    if added:
        fields = value.fields()
        types = {} if fields is None else {name: form.type for name, form in fields.items()} | types
    if not types or None in types.values():
        return Form()
    made: Any = cast("Any", TypedDict)(
        f"Columns({', '.join(types)})", {name: kind | None for name, kind in types.items()}
    )
    return Form() if uses_pydantic(made) else Form(made)


def aggregates(
    value: Form, parts: Mapping[str, Aggregator[Any] | Expr], what: str
) -> tuple[dict[str, Aggregator[Any]], Columns | None]:
    """The aggregates, and the evaluation of what some of them are of.

    These are of a `Number`, which says of which result.

    Raises:
        TopologyError: An expression is invalid, or can't be evaluated.
    """
    made: dict[str, Aggregator[Any]] = {}
    inner: list[Expr] = []
    for name, part in parts.items():
        if not is_expression(part):
            made[name] = part
            continue
        make, of = expressions.aggregate(part, what)
        if of is None:
            made[name] = make(None)
        elif of.meta.is_column():
            made[name] = make(of.meta.output_name())
        else:
            made[name] = make(Number(len(inner), " ".join(of.meta.root_names())))
            inner.append(of)
    return made, columns(value, inner, what) if inner else None


class Number:
    """What an aggregate is of: the result with that number."""

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.__name__ = name

    def __call__(self, value: Any) -> Any:
        """Nobody asks for it without what has the results."""
        raise NotImplementedError


def _expression(given: Column, what: str) -> Expr:
    if isinstance(given, str):
        return col(given)
    if not is_expression(given):
        raise TopologyError(
            f"{what}: {given!r} is neither a column expression nor a field's name; a value is "
            "polars.lit(value)"
        )
    expressions.check(given, what)
    return given
