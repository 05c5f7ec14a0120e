"""Logical types of Avro: dates, times, decimals and UUIDs from what they are written as, and back.

Knows nothing of bytes on the wire or of models. What has no exact form is refused, not rounded.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from processor.serdes.avro.tree import Fixed, Type

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - local: it has no zone
_FIRST_DAY: Final = date(1970, 1, 1).toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
_DAY_MICROS: Final = 86_400_000_000
_BITS_OF_DIGIT: Final = 3.33  # a little more than log2(10)


class Logical(NamedTuple):
    """A logical type in Python: its class, and how it comes from and becomes what is written."""

    cls: type
    load: Callable[[Any], Any]
    dump: Callable[[Any], Any]


def logical_of(type_: Type) -> Logical | None:
    """The logical type of a type, if it has one."""
    if type_.logical == "decimal":
        return _decimal(type_)
    if type_.logical == "uuid":
        return _UUID_FIXED if type_.kind == "fixed" else _UUID_TEXT
    return _SIMPLE.get(type_.logical or "")


def _moment(epoch: datetime, unit: timedelta) -> Logical:
    zoned = epoch.tzinfo is not None

    def load(units: int) -> datetime:
        return epoch + unit * units

    def dump(moment: datetime) -> int:
        if (moment.tzinfo is not None) != zoned:
            raise ValueError(
                "a timestamp takes a datetime with a time zone (tzinfo=UTC), a local-timestamp one "
                "without"
            )
        return (moment - epoch) // unit

    return Logical(datetime, load, dump)


def _load_date(days: int) -> date:
    return date.fromordinal(_FIRST_DAY + days)


def _dump_date(day: date) -> int:
    return day.toordinal() - _FIRST_DAY


def _load_time(units: int, *, micros: int) -> time:
    if not 0 <= units * micros < _DAY_MICROS:
        raise ValueError(f"{units} is no time of a day")
    return (_LOCAL_EPOCH + timedelta(microseconds=units * micros)).time()


def _dump_time(moment: time, *, micros: int) -> int:
    if moment.tzinfo is not None:
        raise ValueError("a time of a day takes one without a time zone")
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return (seconds * 1_000_000 + moment.microsecond) // micros


def _of_day(micros: int) -> Logical:
    return Logical(time, partial(_load_time, micros=micros), partial(_dump_time, micros=micros))


def _decimal(type_: Type) -> Logical:
    precision, scale = type_.precision, type_.scale
    context = Context(prec=precision)
    largest = int(precision * _BITS_OF_DIGIT / 8) + 2
    size = type_.size if isinstance(type_, Fixed) else None

    def load(data: bytes) -> Decimal:
        # Before anything is computed: the time of that goes with the square of the length.
        if size is None and len(data) > largest:
            raise ValueError(f"{len(data)} bytes are no decimal of {precision} digits")
        unscaled = int.from_bytes(data, "big", signed=True)
        if abs(unscaled) >= 10**precision:
            raise ValueError(f"the decimal has more than {precision} digits")
        return Decimal(unscaled).scaleb(-scale, context)

    def dump(value: Decimal) -> bytes:
        if not value.is_finite() or (value and value.adjusted() >= precision - scale):
            raise ValueError(
                f"{value:.6E} does not fit a decimal of precision {precision}, scale {scale}"
            )
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        number = int("".join(map(str, digits)) or "0")
        if exponent + scale >= 0:
            # Zero may come with any exponent.
            number = number * 10 ** (exponent + scale) if number else 0
        else:
            number, rest = divmod(number, 10 ** min(-exponent - scale, len(digits)))
            if rest:
                raise ValueError(f"the decimal has more than {scale} digits after the point")
        number = -number if sign else number
        needed = size or (number + (number < 0)).bit_length() // 8 + 1
        return number.to_bytes(needed, "big", signed=True)

    return Logical(Decimal, load, dump)


def _load_uuid_bytes(data: bytes) -> UUID:
    return UUID(bytes=data)


def _dump_uuid_bytes(value: UUID) -> bytes:
    return value.bytes


_UUID_TEXT: Final = Logical(UUID, UUID, str)
_UUID_FIXED: Final = Logical(UUID, _load_uuid_bytes, _dump_uuid_bytes)
_SIMPLE: Final = {
    "date": Logical(date, _load_date, _dump_date),
    "time-millis": _of_day(1000),
    "time-micros": _of_day(1),
    "timestamp-millis": _moment(_EPOCH, _MILLISECOND),
    "timestamp-micros": _moment(_EPOCH, _MICROSECOND),
    "local-timestamp-millis": _moment(_LOCAL_EPOCH, _MILLISECOND),
    "local-timestamp-micros": _moment(_LOCAL_EPOCH, _MICROSECOND),
}
