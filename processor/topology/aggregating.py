"""What `agg` makes of aggregators: an aggregation with its serde, and the form of its results."""

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, signature
from typing import Any, TypedDict, cast, is_typeddict

from processor.errors import TopologyError
from processor.operators.aggregates.catalogue import Aggregator, Of, Ranked, names_of
from processor.operators.aggregates.composed import Composed, Part, careful, states_serde
from processor.serdes.types import type_name
from processor.topology.form import Form
from processor.topology.functions import described, getter


def composed(
    value: Form,
    given: Mapping[str, Aggregator[Any]],
    model: Callable[..., Any],
    what: str,
) -> tuple[Composed, Form]:
    """The aggregates of values of this form, and the form of what they give.

    Raises:
        TopologyError: No aggregate is given, or a field is not there.
    """
    if isinstance(model, Aggregator):
        raise TopologyError(f"{what}: name each aggregate, such as agg(orders=count())")
    if not callable(model):
        raise TopologyError(f"{what}: the model is a type, not {described(model)}")
    if not given:
        raise TopologyError(f"{what}: name at least one aggregate, such as agg(orders=count())")
    for name, each in given.items():
        if not isinstance(cast("object", each), Aggregator):
            raise TopologyError(
                f"{what}: {name}={described(each)} is no aggregate: call one with a field's name "
                'or a function, such as sum_of("amount"), or count()'
            )
    _check_names(model, given, what)
    bound: list[Part] = []
    states: list[Any] = []
    results: dict[str, Any] = {}
    for name, aggregator in given.items():
        part, item = _bound(value, name, aggregator)
        bound.append(part)
        states.append(aggregator.state(item))
        results[name] = aggregator.type(item)
    each_named = (f"{name}={_named(each)}" for name, each in given.items())
    serde_name = f"agg({', '.join(each_named)})"
    try:
        serde = states_serde(serde_name, bound, states)
    except TopologyError as error:
        raise TopologyError(f"{what}: no aggregate can keep that: {error}") from error
    form = Form(_record(results) if model is dict else model)
    return Composed(serde, tuple(bound), model), form


def _check_names(model: Callable[..., Any], names: Iterable[str], what: str) -> None:
    """The model takes these names, and needs no others; as far as its signature says."""
    known = _names_taken(model)
    if known is None:
        return
    for name in names:
        if name not in known:
            raise TopologyError(
                f"{what}: {name!r} is no field of {type_name(model)}, which has {', '.join(known)}"
            )
    missing = [name for name, is_needed in known.items() if is_needed and name not in names]
    if missing:
        raise TopologyError(
            f"{what}: {type_name(model)} needs {', '.join(missing)}, too: name an aggregate for "
            "each, or give the field a default"
        )


def _names_taken(model: Any) -> dict[str, bool] | None:
    """The names that a model takes, and whether it needs them; None: not known."""
    if model is dict:
        return None
    if is_typeddict(model):
        return {name: name in model.__required_keys__ for name in model.__annotations__}
    fields = getattr(model, "__pydantic_fields__", {}).values()
    if any(field.validation_alias is not None for field in fields):
        return None
    try:
        parameters = signature(model).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return None
    named = {Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
    return {each.name: each.default is Parameter.empty for each in parameters if each.kind in named}


def _bound(value: Form, name: str, aggregator: Aggregator[Any]) -> tuple[Part, Any]:
    """The part, and the type of its items, Any if that is not known."""
    of: Any = aggregator.of
    if isinstance(of, Ranked):
        item = _item(value, of.of)[1]
        getters = of.bound(lambda each: _kept(*_item(value, each)))
        return Part(name, aggregator, getters), Any if item is None else item
    if of is None and aggregator.name == "count":
        return Part(name, aggregator, None), int
    get, item = (None, value.type) if of is None else _item(value, of)
    return Part(name, aggregator, _kept(get, item)), Any if item is None else item


def _kept(get: Callable[[Any], Any] | None, item: Any) -> Any:
    return careful(get) if item is None else get


def _item(value: Form, of: Of) -> tuple[Callable[[Any], Any], Any]:
    get, form = getter("an aggregate", value, of)
    return get, form.type


def _named(aggregator: Aggregator[Any]) -> str:
    return f"{aggregator.name}({' '.join(names_of(aggregator.of))})"


def _record(results: Mapping[str, Any]) -> Any:
    """A type of dicts with these fields, called by their names."""
    named: Any = cast("Any", TypedDict)
    return named(f"Aggregate({', '.join(results)})", dict(results))
