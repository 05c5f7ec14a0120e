"""Values without a type named, in msgpack that keeps each of them as it is.

Owns the extension types for what msgpack has no word for: a tuple stays a tuple, a Decimal keeps
its digits, a moment its zone. What is read back is made by the standard library's constructors
alone, or by pydantic's for its own leaf types; no code of a user is called. Knows nothing of
models.
"""

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from gc import get_referents
from importlib import import_module
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import PosixPath, PurePosixPath, PureWindowsPath
from struct import Struct
from types import NoneType
from typing import Any, Final, NamedTuple, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

from processor.serdes.types import package_of

SIMPLE: Final = frozenset({str, int, float, bool, bytes, NoneType})
"""Types that msgpack keeps as they are."""

_are_simple = SIMPLE.issuperset
_KEPT: Final = SIMPLE | {list, dict}

_BIG, _TEXT, _TUPLE, _SET, _FROZENSET, _PAIRS, _DECIMAL, _DATETIME, _DATE, _TIME = range(1, 11)
_DELTA, _UUID, _LEAF, _NAMED, _GROUP, _CHOICE, _PLAIN = range(11, 18)

_MOMENT = Struct(">qB")
_SPAN = Struct(">iii")
_YEAR_ONE = datetime(1, 1, 1)  # noqa: DTZ001 - a time without a zone is meant
_MICROSECOND = timedelta(microseconds=1)
_INT64, _UINT64 = -(2**63), 2**64
_INTERFACE_TYPES: tuple[type, ...] = (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    PurePosixPath,
    PosixPath,
    PureWindowsPath,
    Fraction,
    complex,
)
_DEFAULTS: Final[tuple[Any, ...]] = (int, float, str, bool, list, dict, set, tuple)
_FACTORIES: Final[Mapping[str, Any]] = {each.__name__: each for each in _DEFAULTS}


class Group(NamedTuple):
    """The members of a container other than a list, which have yet to be read as their type."""

    kind: str
    members: list[Any]


class Choice(NamedTuple):
    """The member of a union that a value is of, by name, and the value, yet to be read as that."""

    name: str
    value: Any


class Plain(NamedTuple):
    """A value that stands where one of an enum's is expected."""

    value: Any


def pack(value: Any) -> Any:
    """The value in terms of msgpack.

    Raises:
        TypeError: There is no form that keeps it.
    """
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict:
        if _are_simple(map(type, value.values())) and _are_simple(map(type, value)):
            return value
        return _packed_dict(value)
    if kind in SIMPLE:
        return value
    if kind is list:
        return value if _are_simple(map(type, value)) else list(map(pack, value))
    packer = _PACKERS.get(kind) or _leaf_packer(kind)
    return packer(value)


def are_kept(trees: Iterable[Any]) -> bool:
    """Whether msgpack keeps all of these as they are: simple values, lists and dicts of them.

    Level by level, at C's speed, with what the garbage collector goes through: all members of a
    list or dict but keys that are of str itself. Trees have to end.
    """
    level = trees
    while True:
        kinds = {*map(type, level)}
        if kinds <= SIMPLE:
            return True
        if not kinds <= _KEPT:
            return False
        level = _members(level)


def _members(level: Iterable[Any]) -> list[Any]:
    if sys.version_info >= (3, 13):  # an object's own dict shows nothing there, a copy does
        level = [each.copy() if type(each) is dict else each for each in level]
    return get_referents(*level)


def decoder_of(form: Any) -> Callable[[bytes], Any]:
    """Reads packed values straight as a type of msgspec's; it raises where they are not."""
    return Decoder(form, ext_hook=_extension).decode


def to_bytes(tree: Any) -> bytes:
    """The bytes of a packed value; what 64 bits or UTF-8 can't hold is packed by then."""
    try:
        return _encode(tree)
    except (OverflowError, UnicodeEncodeError):
        return _encode(_widened(tree))


def to_sorted_bytes(tree: Any) -> bytes:
    """As `to_bytes`, with dicts in order of their keys, so that equal ones have equal bytes."""
    try:
        return _encode_sorted(tree)
    except (OverflowError, UnicodeEncodeError):
        return _encode_sorted(_widened(tree))


def group(kind: str, members: list[Any], *, ordered: bool = True) -> Ext:
    """The packed members of a container; without order, equal sets have equal bytes."""
    held = members if ordered else _in_order(members)
    return Ext(_GROUP, to_bytes([kind, held]))


def choice(name: str, tree: Any) -> Ext:
    """A packed value of a union's member."""
    return Ext(_CHOICE, to_bytes([name, tree]))


def plain(tree: Any) -> Ext:
    """A packed value where one of an enum's is expected."""
    return Ext(_PLAIN, to_bytes(tree))


def refusal(kind: type) -> TypeError:
    """What to say of a value that can't be kept."""
    package = package_of(kind)
    if package in {"numpy", "pandas"}:
        return TypeError(
            f"{package}.{kind.__name__} can't be kept: make it a value of Python's own, as "
            ".item(), .tolist() or .to_pydatetime() do"
        )
    return TypeError(
        f"{kind.__name__} can't be kept without its type: name the type that there is "
        "(value=TYPE), or keep str, bytes, numbers, dates, Decimal, UUID, and lists, tuples, sets "
        "and dicts of these"
    )


def _in_order(trees: list[Any]) -> list[msgspec.Raw]:
    return list(map(msgspec.Raw, sorted(map(to_bytes, trees))))


def _packed_dict(value: dict[Any, Any]) -> Any:
    if SIMPLE.issuperset(map(type, value)):
        return {key: pack(item) for key, item in value.items()}
    return Ext(_PAIRS, to_bytes([[pack(key), pack(item)] for key, item in value.items()]))


def _widened(tree: Any) -> Any:
    """The tree with a form of their own for numbers beyond 64 bits and for lone surrogates."""
    if type(tree) is int and not _INT64 <= tree < _UINT64:
        return Ext(_BIG, tree.to_bytes(tree.bit_length() // 8 + 1, "big", signed=True))
    if type(tree) is str:
        return _widened_text(tree)
    if isinstance(tree, list):
        return list(map(_widened, cast("list[Any]", tree)))
    if isinstance(tree, dict):
        pairs = [[_widened(key), _widened(item)] for key, item in cast("Any", tree).items()]
        if any(isinstance(key, Ext) for key, _ in pairs):
            return Ext(_PAIRS, _encode(pairs))
        return {key: item for key, item in pairs}  # noqa: C416 - pairs are lists, not tuples
    return tree


def _widened_text(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Ext(_TEXT, text.encode("utf-8", "surrogatepass"))
    return text


def _zone_bytes(zone: tzinfo | None, of: object) -> bytes:
    if zone is None:
        return b""
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key.encode()
    offset = zone.utcoffset(None)
    if offset is None:
        raise TypeError(
            f"a {type(of).__name__} with a time zone of {type(zone).__module__} can't be kept: use "
            "zoneinfo.ZoneInfo or datetime.timezone"
        )
    return b"+%d" % (offset // _MICROSECOND)


def _zone(data: bytes) -> tzinfo | None:
    if not data:
        return None
    if data.startswith(b"+"):
        offset = int(data[1:]) * _MICROSECOND
        return timezone(offset) if offset else UTC
    return ZoneInfo(data.decode())


def _packed_datetime(value: datetime) -> Ext:
    count = (value.replace(tzinfo=None, fold=0) - _YEAR_ONE) // _MICROSECOND
    return Ext(_DATETIME, _MOMENT.pack(count, value.fold) + _zone_bytes(value.tzinfo, value))


def _datetime(data: bytes) -> datetime:
    count, fold = _MOMENT.unpack_from(data)
    moment = _YEAR_ONE + count * _MICROSECOND
    return moment.replace(tzinfo=_zone(data[_MOMENT.size :]), fold=fold)


def _packed_time(value: time) -> Ext:
    count = ((value.hour * 60 + value.minute) * 60 + value.second) * 10**6 + value.microsecond
    return Ext(_TIME, _MOMENT.pack(count, value.fold) + _zone_bytes(value.tzinfo, value))


def _time(data: bytes) -> time:
    count, fold = _MOMENT.unpack_from(data)
    moment = (_YEAR_ONE + count * _MICROSECOND).time()
    return moment.replace(tzinfo=_zone(data[_MOMENT.size :]), fold=fold)


def _packed_defaultdict(value: defaultdict[Any, Any]) -> Ext:
    factory: Any = value.default_factory
    name = getattr(factory, "__name__", None)
    if factory is not None and _FACTORIES.get(cast("str", name)) is not factory:
        raise TypeError(
            f"a defaultdict of {factory!r} can't be kept: its default has to be a type such as int "
            "or list"
        )
    return _named("defaultdict", [None if factory is None else name, pack(dict(value))])


def _named(name: str, tree: Any) -> Ext:
    return Ext(_NAMED, to_bytes([name, tree]))


def _pairs_of(value: Mapping[Any, Any]) -> list[list[Any]]:
    return [[pack(key), pack(item)] for key, item in value.items()]


def _made_defaultdict(tree: Any) -> Any:
    name, items = tree
    return defaultdict(None if name is None else _FACTORIES[name], items)


def _made_deque(tree: Any) -> Any:
    longest, items = tree
    return deque(items, longest)


def _made_ordered_dict(tree: Any) -> Any:
    return OrderedDict(tree)


def _made_counter(tree: Any) -> Any:
    return Counter(dict(tree))


def _made_range(tree: Any) -> Any:
    return range(*tree)


def _made_unset(_tree: Any) -> Any:
    return msgspec.UNSET


_MADE: Final[Mapping[str, Callable[[Any], Any]]] = {
    "deque": _made_deque,
    "OrderedDict": _made_ordered_dict,
    "Counter": _made_counter,
    "defaultdict": _made_defaultdict,
    "bytearray": bytearray,
    "range": _made_range,
    "UNSET": _made_unset,
}

_PACKERS: Final[dict[type, Callable[[Any], Any]]] = {
    tuple: lambda value: Ext(_TUPLE, to_bytes(list(map(pack, value)))),
    set: lambda value: Ext(_SET, to_bytes(_in_order(list(map(pack, value))))),
    frozenset: lambda value: Ext(_FROZENSET, to_bytes(_in_order(list(map(pack, value))))),
    Decimal: lambda value: Ext(_DECIMAL, str(value).encode()),
    datetime: _packed_datetime,
    date: lambda value: Ext(_DATE, value.toordinal().to_bytes(3, "big")),
    time: _packed_time,
    timedelta: lambda value: Ext(_DELTA, _SPAN.pack(value.days, value.seconds, value.microseconds)),
    UUID: lambda value: Ext(_UUID, value.bytes),
    deque: lambda value: _named("deque", [value.maxlen, list(map(pack, value))]),
    OrderedDict: lambda value: _named("OrderedDict", _pairs_of(value)),
    Counter: lambda value: _named("Counter", _pairs_of(value)),
    defaultdict: _packed_defaultdict,
    bytearray: lambda value: _named("bytearray", bytes(value)),
    range: lambda value: _named("range", [value.start, value.stop, value.step]),
    msgspec.UnsetType: lambda _: _named("UNSET", None),
}


class _Leaf(NamedTuple):
    """A type whose values are known by one simple value."""

    plain: Callable[[Any], Any]
    made: Callable[[Any], Any]


def _secret(value: Any) -> Any:
    return value.get_secret_value()


_LEAVES: Final[dict[str, _Leaf]] = {each.__name__: _Leaf(str, each) for each in _INTERFACE_TYPES}
_PYDANTIC: Final[Mapping[str, Callable[[Any], Any]]] = {
    "SecretStr": _secret,
    "SecretBytes": _secret,
    "ByteSize": int,
}


def is_leaf(kind: type) -> bool:
    """Whether values of the type have a form of their own without fields."""
    if kind in SIMPLE or kind in {list, dict} or kind in _PACKERS:
        return True
    try:
        _leaf_packer(kind)
    except TypeError:
        return False
    return True


def _leaf_packer(kind: type) -> Callable[[Any], Any]:
    """How values of a type are packed whose package need not be there."""
    name = kind.__name__
    if kind in _INTERFACE_TYPES:
        leaf = _LEAVES[name]
    elif package_of(kind) in {"pydantic", "pydantic_core"}:
        leaf = _pydantic_leaf(kind)
        name = f"pydantic.{name}"
    else:
        raise refusal(kind)
    plain_of = leaf.plain

    def packer(value: Any) -> Ext:
        return Ext(_LEAF, to_bytes([name, plain_of(value)]))

    _PACKERS[kind] = packer
    return packer


def _pydantic_leaf(kind: type) -> _Leaf:
    pydantic = import_module("pydantic")
    if getattr(pydantic, kind.__name__, None) is not kind:
        raise refusal(kind)
    if kind.__name__ in _PYDANTIC:
        return _Leaf(_PYDANTIC[kind.__name__], kind)
    if hasattr(kind, "unicode_string"):  # its addresses
        return _Leaf(str, kind)
    raise refusal(kind)


def _made_leaf(tree: Any) -> Any:
    name, value = tree
    package, _, kind = name.rpartition(".")
    if not package:
        return _LEAVES[name].made(value)
    return _pydantic_leaf(getattr(import_module("pydantic"), kind)).made(value)


def _made_named(tree: Any) -> Any:
    return _MADE[tree[0]](tree[1])


_UNPACKERS: Final[Mapping[int, Callable[[bytes], Any]]] = {
    _BIG: lambda data: int.from_bytes(data, "big", signed=True),
    _TEXT: lambda data: data.decode("utf-8", "surrogatepass"),
    _TUPLE: lambda data: tuple(from_bytes(data)),
    _SET: lambda data: set(from_bytes(data)),
    _FROZENSET: lambda data: frozenset(from_bytes(data)),
    _PAIRS: lambda data: {key: value for key, value in from_bytes(data)},  # noqa: C416
    _DECIMAL: lambda data: Decimal(data.decode()),
    _DATETIME: _datetime,
    _DATE: lambda data: date.fromordinal(int.from_bytes(data, "big")),
    _TIME: _time,
    _DELTA: lambda data: timedelta(*_SPAN.unpack(data)),
    _UUID: lambda data: UUID(bytes=data),
    _LEAF: lambda data: _made_leaf(from_bytes(data)),
    _NAMED: lambda data: _made_named(from_bytes(data)),
    _GROUP: lambda data: Group(*from_bytes(data)),
    _CHOICE: lambda data: Choice(*from_bytes(data)),
    _PLAIN: lambda data: Plain(from_bytes(data)),
}


def _extension(code: int, data: memoryview) -> Any:
    unpacker = _UNPACKERS.get(code)
    if unpacker is None:
        raise ValueError(f"a value of kind {code}: a newer kproc has written it")
    return unpacker(bytes(data))


_encode = plain_bytes = Encoder().encode
"""The bytes of a packed value that 64 bits and UTF-8 can hold.

Raises:
    OverflowError: They can't, see `to_bytes`.
    UnicodeEncodeError: The same.
"""
_encode_sorted = Encoder(order="deterministic").encode
from_bytes: Callable[[bytes], Any] = Decoder(ext_hook=_extension).decode
"""The tree of packed values, with what needs no type made already."""
