"""Limits what data of a schema can grow to when it is read: few bytes, many values.

Arrays of what takes no bytes are the simplest case, and records nested in records the worst: thirty
of them, each twice in the next, are a billion values of no byte at all.
"""

from typing import Final

from processor.serdes.avro.tree import BadSchema, Collection, Fixed, RecordType, Type, UnionType

_LEAST_BYTES: Final = {"null": 0, "float": 4, "double": 8}
"""Of primitive types; all others take one byte at least."""

_VALUES_PER_BYTE: Final = 8
"""What data may grow to: so many values for each byte, in the worst case, ..."""

_VALUES_FOR_NOTHING: Final = 1000
"""... and so many in all that take no byte."""


def check_growth(root: Type, where: str) -> None:
    """Makes sure that short data can't fill the memory.

    Raises:
        BadSchema: It could; `where` names the schema in the text.
    """
    _Growth(where).check(root)


class _Growth:
    """Makes sure that few bytes can't stand for many values.

    Of each type it finds the most that `values - 8 * bytes` can be of any data of that type.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._most: dict[int, int] = {}
        self._open: set[int] = set()
        self._recursive: set[int] = set()

    def check(self, root: Type) -> None:
        if self._of(root) > _VALUES_FOR_NOTHING:
            self._refuse("a record of it")

    def _of(self, type_: Type) -> int:
        if isinstance(type_, RecordType):
            return self._record(type_)
        if isinstance(type_, UnionType):
            return max(map(self._of, type_.branches), default=0) - _VALUES_PER_BYTE
        if isinstance(type_, Collection):
            in_map = _VALUES_PER_BYTE if type_.kind == "map" else 0
            if self._of(type_.items) > in_map:
                self._refuse(f"the items of a{'n' if type_.kind == 'array' else ''} {type_.kind}")
            return 1 - _VALUES_PER_BYTE
        size = type_.size if isinstance(type_, Fixed) else _LEAST_BYTES.get(type_.kind, 1)
        return 1 - _VALUES_PER_BYTE * size

    def _record(self, record: RecordType) -> int:
        known = id(record)
        if known in self._open:
            self._recursive.add(known)
            return 0
        if known not in self._most:
            self._open.add(known)
            self._most[known] = 1 + sum(self._of(each.type) for each in record.fields)
            self._open.remove(known)
            if known in self._recursive and self._most[known] > 0:
                self._refuse(f"record {record.name}, which is part of itself,")
        return self._most[known]

    def _refuse(self, what: str) -> None:
        raise BadSchema(
            f"{self._where}: {what} can take so few bytes that a short message may fill the "
            "memory: leave out fields of type null, and records and arrays of nothing else"
        )
