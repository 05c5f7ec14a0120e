"""What `process` is made of, and what is refused of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from processor.errors import TopologyError
from processor.operators.process import Process, Punctuator
from processor.state.keyvalue import StoreSpec
from processor.topology.flow import Flow
from processor.topology.form import Form
from processor.topology.functions import checked_function


def processed(
    flow: Flow,
    function: Callable[..., Any],
    stores: Sequence[StoreSpec[Any, Any]],
    punctuators: Sequence[Punctuator[Any, Any]],
    name: str | None,
) -> Flow:
    """The point after a function with stores and punctuators.

    Raises:
        TopologyError: One of them is something else.
    """
    checked_function("process", function, "record, context")
    _check_list('stores=[key_value("seen", key=str, value=int)]', stores, StoreSpec)
    _check_list('punctuators=[every("10s", function)]', punctuators, Punctuator)
    if stores or punctuators:
        name = flow.needed(name, "process", "process")
        flow = flow.partitioned_by_key(name)
    names = frozenset(spec.name for spec in stores)
    key, value = Form.pairs_returned_by(function)
    made = flow.then(
        "process",
        lambda step: Process(step, function, names, tuple(punctuators)),
        name,
        key=key,
        value=value,
        stores=tuple(stores),
    )
    return replace(made, label=name)


def _check_list(right: str, given: object, kind: type[Any]) -> None:
    if isinstance(given, list | tuple):
        made = cast("Sequence[object]", given)
        if all(isinstance(each, kind) for each in made):
            return
    raise TopologyError(f"process: give them as a list of what makes them, such as {right}")
