"""What is known of a stream's keys or values: their type, and how they stood in their topic."""

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, cast, get_origin, is_typeddict

from processor.serdes import (
    Serde,
    auto,
    field_type,
    json,
    key_json,
    key_serde_for,
    return_type,
    serde_for,
)


@dataclass(frozen=True)
class Form:
    """The form of a column.

    `read` is the serde it was read with, as long as nothing has changed it; `type` is its type,
    None where no annotation tells.
    """

    type: Any = None
    read: Serde[Any] | None = None

    @staticmethod
    def returned_by(function: Callable[..., Any]) -> "Form":
        """The form of what a function returns, as far as its annotation tells."""
        return Form(return_type(function))

    def written(self, given: Any, what: str) -> Serde[Any]:
        """The serde to write to a user's topic with.

        As it was read if it is unchanged; else text and bytes as they are and the rest as JSON.
        """
        if given is not None:
            return serde_for(given, what=what)
        return self.read or auto

    def kept_key(self, given: Any, what: str) -> Serde[Any]:
        """The serde for keys in stores and internal topics."""
        return self._kept(given, what, key_serde_for, key_json)

    def kept_value(self, given: Any, what: str) -> Serde[Any]:
        """The serde for values in stores and internal topics."""
        return self._kept(given, what, serde_for, json)

    def _kept(
        self, given: Any, what: str, find: Callable[..., Serde[Any]], unknown: Serde[Any]
    ) -> Serde[Any]:
        if given is not None:
            return find(given, what=what)
        if self.read is not None:
            return self.read
        return unknown if self.type is None else find(self.type, what=what)

    def field(self, name: str) -> tuple[Callable[[Any], Any], "Form"]:
        """A function that gets a field of the values, and the form of what it gets."""
        model = get_origin(self.type) or self.type
        if model is not None and model is not Any:
            by_item = is_typeddict(model) or (isinstance(model, type) and issubclass(model, dict))
            getter = itemgetter(name) if by_item else attrgetter(name)
            return getter, Form(field_type(self.type, name))
        if self.read is not None and self.read.name == json.name:
            return itemgetter(name), Form()
        return lambda value: _field(value, name), Form()


def _field(value: Any, name: str) -> Any:
    return cast("Any", value)[name] if isinstance(value, dict) else getattr(value, name)
