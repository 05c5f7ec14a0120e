"""Functions that a topology is given, looked at before any record comes.

Says what is no function, is an `async def` or can't be called as it will be; calls nothing.
"""

from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction, signature
from typing import Any, TypeVar

from processor.errors import TopologyError
from processor.topology.form import Form

F = TypeVar("F", bound=Callable[..., Any])

_FOR_FIELDS = "key_by, group_by, deduplicate(by=...), join(on=...) and aggregates such as sum_of"


def checked_function(what: str, function: F, takes: str) -> F:
    """The function, if it can be called as the step will do.

    Args:
        what: The step, as users write it.
        function: What the step was given.
        takes: What it will be called with: "key, value"; "" is nothing.

    Raises:
        TopologyError: It can't.
    """
    if not callable(function):
        raise TopologyError(
            f"{what} takes a function({takes}), not {described(function)}{_hint(function)}"
        )
    if is_async(function):
        raise TopologyError(
            f"{what} can't await, and {_named(function)} is an async def: use map_async for it"
        )
    check_arguments(what, function, takes)
    return function


def check_arguments(what: str, function: Callable[..., Any], takes: str) -> None:
    """Raises TopologyError if the function can't be called with this, as far as it is known."""
    if isinstance(function, type):
        return  # a type stands for what it makes, and may be called in many ways
    try:
        known = signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return  # some of those in C do not say
    try:
        known.bind(*filter(None, takes.split(", ")))
    except TypeError as error:
        raise TopologyError(
            f"{what} takes a function({takes}), but {_named(function)} is a function{known}: "
            f"{error}"
        ) from error


def is_async(function: object) -> bool:
    """Whether calling it gives something to be awaited."""
    called = getattr(type(function), "__call__", None)  # noqa: B004 - its kind is asked for
    return any(iscoroutinefunction(each) or isasyncgenfunction(each) for each in (function, called))


def getter(
    what: str, value: Form, by: Callable[[Any], Any] | str
) -> tuple[Callable[[Any], Any], Form]:
    """What gets a field of that name, or the function of the value, and the form of what it gives.

    Raises:
        TopologyError: There is no such field, or it is no such function.
    """
    if isinstance(by, str):
        return value.field(by)
    return checked_function(what, by, "value"), Form.returned_by(by)


def folded(what: str, start: Callable[[], Any], add: Callable[..., Any]) -> Form:
    """The form of an aggregate that two functions make.

    Raises:
        TopologyError: One is no such function.
    """
    checked_function(f"{what}: start", start, "")
    return Form.folded_by(start, checked_function(f"{what}: add", add, "so_far, value"))


def described(thing: object) -> str:
    """A wrong argument in an error: what is long is named by its type."""
    if thing is None or isinstance(thing, str | int | float):
        return repr(thing)
    return _named(thing) if callable(thing) else f"a {type(thing).__name__}"


def _hint(given: object) -> str:
    if isinstance(given, str):
        return f": names of fields are for {_FOR_FIELDS}, text can't be called"
    return ""


def _named(function: object) -> str:
    return getattr(function, "__name__", type(function).__name__)
