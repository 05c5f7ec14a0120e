"""What is known of a stream's keys or values: their type, and how they stood in their topic."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, cast, get_args, get_origin, is_typeddict

from processor.errors import TopologyError
from processor.records import Record
from processor.serdes import (
    Serde,
    auto,
    field_type,
    json,
    kept_key_serde_for,
    kept_serde_for,
    key_json,
    key_serde_for,
    lossless,
    return_type,
    serde_for,
    text,
)
from processor.serdes.given import is_kept, unchanged
from processor.serdes.typed_keys import exact
from processor.serdes.types import plain_type, type_name


@dataclass(frozen=True)
class Form:
    """The form of a column.

    `read` is the serde it was read with, as long as nothing has changed it; `type` is its type,
    None where no annotation says it; `kept` is the serde of the store or internal topic that it
    comes from, for other stores and internal topics.
    """

    type: Any = None
    read: Serde[Any] | None = None
    kept: Serde[Any] | None = None

    def __str__(self) -> str:
        return "Any" if self.type is None else type_name(self.type)

    @staticmethod
    def returned_by(function: Callable[..., Any]) -> "Form":
        """The form of what a function returns, as far as its annotation says."""
        return _form(return_type(function))

    @staticmethod
    def folded_by(start: Callable[[], Any], add: Callable[..., Any]) -> "Form":
        """The form of an aggregate: what `add` says that it returns, else what `start` does."""
        form = Form.returned_by(add)
        if form.type is not None:
            return form
        return Form(start) if isinstance(start, type) else Form.returned_by(start)

    @staticmethod
    def each_returned_by(function: Callable[..., Any]) -> "Form":
        """The form of what a function returns several of: `list[str]`, `Iterator[str]`."""
        return _form(_member(return_type(function)))

    @staticmethod
    def pair_returned_by(function: Callable[..., Any]) -> tuple["Form", "Form"]:
        """The forms of key and value for a function that returns a pair."""
        return _pair(return_type(function))

    @staticmethod
    def pairs_returned_by(function: Callable[..., Any]) -> tuple["Form", "Form"]:
        """The forms of key and value for one that returns several pairs or records."""
        return _pair(_member(return_type(function)))

    @staticmethod
    def common(forms: Iterable["Form"]) -> "Form":
        """What all the forms agree on."""
        first, *others = forms
        if all(form == first for form in others):
            return first
        return Form(first.type if all(form.type == first.type for form in others) else None)

    def written_key(self, given: Any, what: str) -> Serde[Any]:
        """The serde for keys in a user's topic.

        As it was read if it is unchanged; else text and bytes as they are and the rest as JSON.
        """
        return self._written() if given is None else key_serde_for(given, what=what)

    def written_value(self, given: Any, what: str) -> Serde[Any]:
        """The serde for values in a user's topic, as `written_key`."""
        return self._written() if given is None else serde_for(given, what=what)

    def _written(self) -> Serde[Any]:
        return self.read or (text if self.type is str else auto)

    def kept_key(self, given: Any, what: str) -> Serde[Any]:
        """The serde for keys in stores and internal topics, which gives back what it got."""
        if given is not None:
            return kept_key_serde_for(given, what=what)
        known = self.kept or self.read
        if known is not None and (known.faithful or self.type is None):
            return known
        return kept_key_serde_for(Any if self.type is None else self.type, what=what)

    def placed_key(self, what: str) -> Serde[Any]:
        """The serde that has written the bytes by which the keys have found their partitions."""
        return self.kept or self.read or self.kept_key(None, what)

    def meeting_key(self, what: str) -> Serde[Any]:
        """The serde for topics of kproc's own whose keys are to be where these are."""
        placed = self.placed_key(what)
        return placed if placed.faithful or placed.type is None else exact(placed)

    def meets(self, other: Serde[Any], what: str) -> bool:
        """Whether keys of this form, which a function made, can be written by that serde."""
        if self.type is None:
            return True
        return other.name in {
            self.kept_key(None, what).name,
            key_serde_for(self.type, what=what).name,
        }

    def through_key(self, given: Any, what: str) -> Serde[Any]:
        """The serde for keys in a topic of the user's that the topology reads again.

        A key that would come back as another is refused when it is written.
        """
        known = self._known(given, key_serde_for, what) or key_json
        return known if is_kept(known) else unchanged(known, "key")

    def kept_value(self, given: Any, what: str) -> Serde[Any]:
        """The serde for values in stores and internal topics, which gives back what it got."""
        if given is not None:
            return kept_serde_for(given, what=what)
        known = self.read or self.kept
        if known is not None and known.faithful:
            return known
        return kept_serde_for(Any if self.type is None else self.type, what=what)

    def through_value(self, given: Any, what: str) -> Serde[Any]:
        """The serde for values in a topic of the user's that the topology reads again.

        A value that would come back as another is refused when it is written.
        """
        known = self._known(given, serde_for, what)
        if known is None:
            return _careful_json()
        return known if is_kept(known) else unchanged(known, "value")

    def _known(self, given: Any, find: Callable[..., Serde[Any]], what: str) -> Serde[Any] | None:
        if given is not None:
            return find(given, what=what)
        if self.read is not None or self.kept is not None:
            return self.read or self.kept
        return None if self.type is None else find(self.type, what=what)

    def field(self, name: str) -> tuple[Callable[[Any], Any], "Form"]:
        """A function that gets a field of the values, and the form of what it gets.

        Raises:
            TopologyError: The type of the values has fields, and none of that name.
        """
        annotation = plain_type(self.type)
        model = get_origin(annotation) or annotation
        if isinstance(model, type) and self.type is not None:
            _check_field(model, name)
            by_item = is_typeddict(model) or issubclass(model, dict)
            getter = itemgetter(name) if by_item else attrgetter(name)
            return getter, _form(field_type(self.type, name))
        if self.read is not None and self.read.name == json.name:
            return itemgetter(name), Form()
        return lambda value: _field(value, name), Form()


def _field(value: Any, name: str) -> Any:
    return cast("Any", value)[name] if isinstance(value, dict) else getattr(value, name)


def _form(annotation: Any) -> Form:
    unknown = annotation is Any or annotation is object or isinstance(annotation, TypeVar)
    return Form(None if unknown else annotation)


def _member(annotation: Any) -> Any:
    """What a collection of that type has in it, None where that is unknown."""
    annotation = plain_type(annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is tuple and arguments[1:] != (...,):
        return None
    return arguments[0] if isinstance(origin, type) and issubclass(origin, Iterable) else None


def _pair(annotation: Any) -> tuple[Form, Form]:
    arguments = get_args(annotation)
    if get_origin(annotation) in {tuple, Record} and len(arguments) == 2:  # noqa: PLR2004
        key, value = arguments
        if value is not ...:
            return _form(key), _form(value)
    return Form(), Form()


def _careful_json() -> Serde[Any]:
    """JSON that makes sure of each value that it comes back as it was."""

    def encode(value: object) -> bytes:
        lossless(json, value)
        return json.encode(value)

    return Serde(json.name, encode, json.decode, faithful=False)


def _check_field(model: type, name: str) -> None:
    fields = _fields(model) or _message_fields(model)
    if fields and name not in fields and not hasattr(model, name):
        raise TopologyError(
            f"{name!r} is no field of {type_name(model)}, which has {', '.join(fields)}"
        )


def _message_fields(model: type) -> list[str]:
    """The fields of a message of Protobuf."""
    return list(getattr(getattr(model, "DESCRIPTOR", None), "fields_by_name", ()))


def _fields(model: type) -> list[str]:
    """The fields of a model; none where values may have others too."""
    config: Any = getattr(model, "model_config", {})
    if config.get("extra") == "allow":
        return []
    if is_typeddict(model):
        return list(model.__annotations__)
    for attribute in ("__struct_fields__", "__pydantic_fields__", "__dataclass_fields__"):
        if hasattr(model, attribute):
            return list(getattr(model, attribute))
    return []
