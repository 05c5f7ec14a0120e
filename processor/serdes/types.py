"""What annotations say: names for types, the types that functions return and that fields have.

Knows nothing of bytes. Never imports pydantic: 200 ms that a worker without models saves.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import unwrap
from itertools import chain, repeat
from types import GenericAlias, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NewType,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

UNIONS = (Union, UnionType)


def plain_type(annotation: Any) -> Any:
    """The type itself: without None, metadata, NewType and alias around it.

    None is never given to a serde, so `X | None` is X. A type variable can be anything.
    """
    if annotation is None:
        return NoneType
    if isinstance(annotation, TypeVar):
        return plain_type(annotation.__bound__ or Any)
    if get_origin(annotation) in UNIONS:
        members = get_args(annotation)
        present = tuple(member for member in members if member is not NoneType)
        return annotation if present == members else plain_type(Union[present])  # noqa: UP007
    inner = _inside(annotation)
    return annotation if inner is None else plain_type(inner)


def _inside(annotation: Any) -> Any | None:
    if isinstance(annotation, NewType):
        return annotation.__supertype__
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    # `type X = ...` of Python 3.12
    return None if isinstance(annotation, type) else getattr(annotation, "__value__", None)


def mismatch(expected: Any, value: object) -> str:
    """What to say of a value of another class; with their modules where both have one name."""
    cls = type(value)
    name = type_name(expected)
    if name != type_name(cls):
        return f"expected {name}, not {cls.__name__}"
    return (
        f"expected {expected.__module__}.{name}, not {cls.__module__}.{name}: two classes of one "
        "name; import it from the same module everywhere"
    )


def checked(encode: Callable[[Any], bytes], model: Any) -> Callable[[Any], bytes]:
    """The function, for values of the type's classes alone: others could not be read as it."""
    classes = _classes(model)
    if not classes:
        return encode

    def encode_checked(value: object) -> bytes:
        if not isinstance(value, classes):
            raise TypeError(mismatch(model, value))
        return encode(value)

    return encode_checked


def checked_all(
    encode_all: Callable[[Sequence[Any]], list[bytes] | None], model: Any
) -> Callable[[Sequence[Any]], list[bytes] | None]:
    """As `checked`, for a batch: None where a value is of another class."""
    classes = _classes(model)
    if not classes:
        return encode_all

    def encode_all_checked(values: Sequence[Any]) -> list[bytes] | None:
        return encode_all(values) if all(map(isinstance, values, repeat(classes))) else None

    return encode_all_checked


def _classes(model: Any) -> tuple[type, ...]:
    """The classes that values of the type have; none where they are unknown."""
    origin = get_origin(model) or model
    if origin in UNIONS:
        members = [_classes(plain_type(member)) for member in get_args(model)]
        return tuple(chain.from_iterable(members)) if all(members) else ()
    if is_typeddict(origin):
        return (dict,)
    if origin is float:
        return (float, int)
    if package_of(origin) == "pydantic":
        return ()  # such as EmailStr, whose values are plain ones
    return (origin,) if isinstance(origin, type) and origin is not Any else ()


def type_name(annotation: Any) -> str:
    """A name that stays the same wherever the type is defined: `dict[str, Order]`.

    Unions are equal in any order, and so are their names.
    """
    if get_origin(annotation) in UNIONS:
        names = map(type_name, get_args(annotation))
        return " | ".join(sorted(names, key=lambda name: (name == "None", name)))
    annotation = plain_type(annotation)
    if get_origin(annotation) is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if arguments := get_args(annotation):
        return f"{type_name(get_origin(annotation))}[{', '.join(map(type_name, arguments))}]"
    if annotation is Ellipsis or annotation is NoneType:
        return "..." if annotation is Ellipsis else "None"
    name = getattr(annotation, "__qualname__", None) or str(annotation)
    return name.rpartition("<locals>.")[2]


def return_type(function: Callable[..., Any]) -> Any | None:
    """The type that a function says it returns; NoneType where it says None.

    Returns None for what is not said: lambdas, built-in functions, and names that can't be resolved
    (`if TYPE_CHECKING:` imports). A class called as a function returns itself.
    """
    function = unwrap(function)
    if isinstance(function, partial):
        return return_type(cast("partial[Any]", function).func)
    if isinstance(function, type | GenericAlias):
        return function
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    return _known(hints(function).get("return")) if hasattr(function, "__code__") else None


def field_type(model: Any, field: str) -> Any | None:
    """The type of a field of a pydantic model, dataclass, Struct, TypedDict or NamedTuple.

    None where the model has no such field or no type for it.
    """
    model = plain_type(model)
    fields = getattr(model, "model_fields", None)
    if fields is not None and uses_pydantic(model):
        return fields[field].annotation if field in fields else None
    return _known(_fields(model).get(field))


def uses_pydantic(annotation: Any) -> bool:
    """Whether a model of pydantic is part of the type."""
    return "pydantic" in sys.modules and any(
        isinstance(part, type) and hasattr(part, "__pydantic_core_schema__")
        for part in _parts(annotation, {})
    )


def package_of(cls: Any) -> str:
    """The package that a class is defined in; "" of those that are made at run time."""
    return str(cls.__module__ or "").partition(".")[0]


def is_message(cls: Any) -> bool:
    """Whether it is a class of Protobuf's messages, whose package need not be there."""
    return isinstance(cls, type) and hasattr(cls, "DESCRIPTOR") and hasattr(cls, "FromString")


def runs_code(annotation: Any) -> bool:
    """Whether to make values of the type again may call what a user wrote: validators and such."""
    return uses_pydantic(annotation) or any(
        hasattr(part, "__post_init__") or hasattr(part, "__attrs_attrs__")
        for part in _parts(annotation, {})
    )


def parts(annotation: Any) -> Iterator[Any]:
    """The type and every type that it is made of."""
    return _parts(annotation, {})


def _parts(annotation: Any, seen: dict[int, Any]) -> Iterator[Any]:
    """`seen` keeps the types alive, so that ids stay."""
    annotation = plain_type(annotation)
    if id(annotation) in seen:
        return
    seen[id(annotation)] = annotation
    yield annotation
    for part in (*get_args(annotation), *_fields(annotation).values()):
        yield from _parts(part, seen)


def _fields(model: Any) -> dict[str, Any]:
    owner = get_origin(model) or model
    return hints(owner) if isinstance(owner, type) else {}


def _known(annotation: Any) -> Any | None:
    """None for what says nothing about a value: type variables and class variables."""
    unknown = isinstance(annotation, TypeVar) or get_origin(annotation) is ClassVar
    return None if unknown else annotation


def hints(owner: Any) -> dict[str, Any]:
    """Annotations resolved; none where one of them names what can't be found."""
    try:
        return get_type_hints(owner, include_extras=True)
    except NameError:
        return {}
