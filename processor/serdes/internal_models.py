"""How values of a type are packed and made again, without calling what the user wrote.

Owns the walk through a type: a model's fields are taken from the object as they are, by their
names, and put into a new one, so that neither validators nor `__post_init__` see them twice, and
aliases, excluded and computed fields play no part. A value that is not of its type is kept all the
same where its own kind says what it is, and refused where a class would be needed.
"""

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from enum import Enum, Flag
from types import NoneType
from typing import (
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeVar,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

from processor.errors import TopologyError
from processor.serdes.internal_fields import Fields, Parts, fields_of
from processor.serdes.internal_values import (
    SIMPLE,
    Choice,
    Group,
    Plain,
    choice,
    group,
    is_leaf,
    pack,
    plain,
    refusal,
)
from processor.serdes.types import (
    UNIONS,
    is_message,
    mismatch,
    package_of,
    plain_type,
    type_name,
)

Convert = Callable[[Any], Any]

_CONTAINERS: Final = frozenset(
    {list, tuple, set, frozenset, dict, deque, Counter, OrderedDict, defaultdict}
)
_KINDS: Final[Mapping[str, Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class Codec(NamedTuple):
    """Packs values of a type and makes them again.

    `typed` where more than their kind is needed; `checks` where other values are refused; `flat`
    has the fields of a model none of which needs a type.
    """

    pack: Convert
    unpack: Convert
    typed: bool = True
    checks: bool = False
    flat: Fields | None = None


def _same(value: Any) -> Any:
    return value


GENERIC: Final = Codec(pack, _same, typed=False)
"""For what needs no type."""


class Walk:
    """Makes codecs of types, each class once."""

    def __init__(self) -> None:
        self._known: dict[Any, Codec] = {}
        self._labels: dict[str, type] = {}

    def codec(self, annotation: Any, where: str = "") -> Codec:
        """The codec of a type.

        Args:
            annotation: The type.
            where: The field that it is of, as the error names it.

        Raises:
            TopologyError: No form keeps values of the type.
        """
        model = plain_type(annotation)
        origin, arguments = get_origin(model) or model, get_args(model)
        if origin is Any or origin is object or origin is Literal or isinstance(origin, TypeVar):
            return GENERIC
        if origin in UNIONS:
            return self._union(arguments, where)
        if is_typeddict(origin):
            return self._model(model, origin)
        if not isinstance(origin, type):
            raise _refused(model, where)
        if arguments and (origin in _CONTAINERS or origin.__module__ == "collections.abc"):
            return self._container(origin, arguments, where)
        if is_leaf(origin):
            return GENERIC
        return self._class(model, origin, where)

    def label(self, cls: type) -> str:
        """The name of a class in this type."""
        name = type_name(cls)
        if self._labels.setdefault(name, cls) is cls:
            return name
        return f"{cls.__module__}.{name}"

    def _class(self, model: Any, origin: type, where: str) -> Codec:
        if issubclass(origin, Enum):
            return _flag_codec(origin) if issubclass(origin, Flag) else _enum_codec(origin)
        if fields_of(model) is not None:
            return self._model(model, origin)
        if is_message(origin):
            return _message_codec(origin)
        if package_of(origin) in {"pydantic", "annotated_types", "typing"}:
            return GENERIC  # such as EmailStr, whose values are plain ones
        if origin.__module__ == "collections.abc" and issubclass(origin, Collection):
            return GENERIC
        raise _refused(model, where)

    def _model(self, model: Any, origin: Any) -> Codec:
        key = _hashable(model)
        if key in self._known:
            known = self._known[key]
            return known if known is not _PENDING else self._later(key)
        self._known[key] = _PENDING
        fields = fields_of(model)
        assert fields is not None
        label = type_name(model) if get_args(model) else self.label(origin)
        codecs = {each.name: self.codec(each.type, f"{label}.{each.name}") for each in fields.each}
        made = _model_codec(model, fields, codecs)
        self._known[key] = made
        return made

    def _later(self, key: Any) -> Codec:
        """The codec of a class that is at work already, as a tree's nodes have nodes in them."""
        known = self._known

        def pack_later(value: Any) -> Any:
            return known[key].pack(value)

        def unpack_later(tree: Any) -> Any:
            return known[key].unpack(tree)

        return Codec(pack_later, unpack_later)

    def _container(self, origin: type, arguments: tuple[Any, ...], where: str) -> Codec:
        if origin not in _CONTAINERS and not issubclass(origin, Collection):
            raise _refused(origin, where)  # a function, an iterator
        codecs = [self.codec(each, where) for each in arguments if each is not ...]
        if not any(codec.typed for codec in codecs):
            return GENERIC
        if origin in {dict, Mapping, MutableMapping}:
            return _dict_codec(*codecs)
        if origin is tuple and arguments[1:] != (...,):
            return _tuple_codec(codecs)
        if len(codecs) != 1 or origin is deque:
            raise _refused(origin, where)
        return _members_codec(codecs[0])

    def _union(self, members: Iterable[Any], where: str) -> Codec:
        typed: dict[str, tuple[Any, Codec]] = {}
        for member in members:
            codec = self.codec(member, where)
            if codec.typed:
                typed[self._member_name(member)] = plain_type(member), codec
        if not typed:
            return GENERIC
        origins = [get_origin(member) or member for member, _ in typed.values()]
        if len(set(map(_kind, origins))) < len(origins):
            raise TopologyError(
                f"{where or 'the type'} can be {' or '.join(typed)}, which no value distinguishes: "
                "name one type for both, such as list[A | B]"
            )
        return _union_codec(typed)

    def _member_name(self, member: Any) -> str:
        member = plain_type(member)
        return self.label(member) if isinstance(member, type) else type_name(member)


_PENDING: Final = Codec(_same, _same)


def _kind(origin: Any) -> Any:
    if is_typeddict(origin):
        return dict
    if issubclass(origin, Mapping):
        return dict
    return origin


def _hashable(model: Any) -> Any:
    try:
        hash(model)
    except TypeError:
        return id(model)
    return model


def _refused(model: Any, where: str) -> TopologyError:
    field = f"{where} is" if where else "it is"
    return TopologyError(
        f"{field} of type {type_name(model)}, whose values no store can keep without running code "
        "of yours: use a dataclass, a model of pydantic, a Struct, a TypedDict or a NamedTuple, or "
        "give a Serde"
    )


def _model_codec(model: Any, fields: Fields, codecs: Mapping[str, Codec]) -> Codec:
    origin = get_origin(model) or model
    cls = dict if is_typeddict(origin) else origin
    if cls is dict and not any(codec.typed for codec in codecs.values()):
        return GENERIC
    packer = _model_packer(origin, cls, fields.parts, codecs)
    unpackers = [(name, codec.unpack) for name, codec in codecs.items() if codec.typed]
    make = fields.make

    def unpack_model(tree: Any) -> Any:
        if type(tree) is not dict:
            return tree
        for name, unpacker in unpackers:
            if name in tree:
                tree[name] = unpacker(tree[name])
        return make(cast("Parts", tree))

    def unpack_flat(tree: Any) -> Any:
        return make(cast("Parts", tree)) if isinstance(tree, dict) else tree

    if unpackers:
        return Codec(packer, unpack_model, checks=True)
    return Codec(packer, unpack_flat, checks=True, flat=fields)


def _model_packer(
    origin: Any, cls: type, parts: Callable[[Any], Parts], codecs: Mapping[str, Codec]
) -> Convert:
    packers = {name: codec.pack for name, codec in codecs.items()}
    none, are_simple = NoneType, SIMPLE.issuperset

    def pack_model(value: Any) -> Any:
        if type(value) is not cls:
            if type(value) is none:
                return None
            raise TypeError(mismatch(origin, value))
        tree = parts(value)
        if are_simple(map(type, tree.values())):
            return tree
        return {
            name: item if type(item) in SIMPLE else packers.get(name, pack)(item)
            for name, item in tree.items()
        }

    return pack_model


def _enum_codec(cls: type[Enum]) -> Codec:
    members = cls._member_map_
    names = {id(member): member.name for member in members.values()}

    def pack_member(value: Any) -> Any:
        if type(value) is cls:
            return names[id(value)]
        return plain(pack(value)) if value is not None else None

    def unpack_member(tree: Any) -> Any:
        if type(tree) is not str:
            return tree.value if type(tree) is Plain else tree
        if tree not in members:
            raise ValueError(f"{type_name(cls)} has no {tree} any more")
        return members[tree]

    return Codec(pack_member, unpack_member)


def _flag_codec(cls: type[Flag]) -> Codec:
    def pack_flag(value: Any) -> Any:
        return int(value.value) if type(value) is cls else plain(pack(value))

    def unpack_flag(tree: Any) -> Any:
        return tree.value if type(tree) is Plain else cls(tree)

    return Codec(pack_flag, unpack_flag)


def _message_codec(cls: Any) -> Codec:
    read = cls.FromString

    def pack_message(value: Any) -> Any:
        if type(value) is cls:
            return value.SerializeToString(deterministic=True)
        if value is None:
            return None
        raise TypeError(mismatch(cls, value))

    def unpack_message(tree: Any) -> Any:
        return read(tree) if type(tree) is bytes else tree

    return Codec(pack_message, unpack_message, checks=True)


def _members_codec(member: Codec) -> Codec:
    packer, unpacker = member.pack, member.unpack

    def pack_all(value: Any) -> Any:
        kind = cast("type[Any]", type(value))
        if kind is list:
            return list(map(packer, value))
        if kind in SIMPLE:
            return value
        if kind.__name__ not in _KINDS or kind.__module__ != "builtins":
            raise refusal(kind)
        return group(kind.__name__, list(map(packer, value)), ordered=kind is tuple)

    def unpack_all(tree: Any) -> Any:
        if type(tree) is list:
            return list(map(unpacker, cast("list[Any]", tree)))
        if type(tree) is Group:
            return _KINDS[tree.kind](list(map(unpacker, tree.members)))
        return tree

    return Codec(pack_all, unpack_all)


def _tuple_codec(members: list[Codec]) -> Codec:
    packers = [member.pack for member in members]
    unpackers = [member.unpack for member in members]

    def pack_tuple(value: Any) -> Any:
        if type(value) in SIMPLE:
            return value
        if type(value) not in {tuple, list} or len(value) != len(packers):
            raise TypeError(f"expected a tuple of {len(packers)}, not {type(value).__name__}")
        members = [packer(item) for packer, item in zip(packers, value, strict=True)]
        return members if type(value) is list else group("tuple", members)

    def unpack_tuple(tree: Any) -> Any:
        if type(tree) in SIMPLE:
            return tree
        members: list[Any] = tree.members if type(tree) is Group else tree
        made = [unpacker(item) for unpacker, item in zip(unpackers, members, strict=True)]
        return tuple(made) if type(tree) is Group else made

    return Codec(pack_tuple, unpack_tuple)


def _dict_codec(key: Codec, item: Codec) -> Codec:
    pack_item, unpack_item = item.pack, item.unpack

    def pack_dict(value: Any) -> Any:
        if type(value) is not dict:
            if type(value) in SIMPLE:
                return value
            raise refusal(cast("type[Any]", type(value)))
        value = cast("dict[Any, Any]", value)
        if SIMPLE.issuperset(map(type, value)):
            return {name: pack_item(each) for name, each in value.items()}
        return group("dict", [[key.pack(name), pack_item(each)] for name, each in value.items()])

    def unpack_dict(tree: Any) -> Any:
        if type(tree) is dict:
            return {name: unpack_item(each) for name, each in cast("dict[Any, Any]", tree).items()}
        if type(tree) is Group:
            return {key.unpack(name): unpack_item(each) for name, each in tree.members}
        return tree

    return Codec(pack_dict, unpack_dict)


def _union_codec(typed: Mapping[str, tuple[Any, Codec]]) -> Codec:
    by_class: dict[Any, tuple[str, Convert]] = {
        _kind(get_origin(member) or member): (name, codec.pack)
        for name, (member, codec) in typed.items()
    }
    unpackers = {name: codec.unpack for name, (_, codec) in typed.items()}

    def pack_union(value: Any) -> Any:
        found = by_class.get(type(value))
        if found is None:
            return pack(value)
        return choice(found[0], found[1](value))

    def unpack_union(tree: Any) -> Any:
        if type(tree) is not Choice:
            return tree
        if tree.name not in unpackers:
            raise ValueError(f"a {tree.name}, which the type does not have any more")
        return unpackers[tree.name](tree.value)

    return Codec(pack_union, unpack_union)
