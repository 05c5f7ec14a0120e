"""What steps that make a table emit: new values, and changes where a step downstream needs the old.

A table's new values are on its output 0, where they are read as a stream. Its changes, old and new
value together, are on output 1; they are only made where somebody reads them. A step downstream can
take back exactly what was emitted before, without keeping anything of its own.
"""

from typing import Any, NamedTuple

from processor.operators.base import AnyBatch, Context, Operator, Outputs
from processor.serdes.base import Serde

CHANGES = 1
"""The output that has a table's changes."""

_HAS_OLD, _HAS_NEW = 1, 2


class Change(NamedTuple):
    """What a key's value was when it was emitted last, and is now; None where there is none."""

    old: Any
    new: Any


NOTHING = Change(None, None)
"""No change: there was nothing and there is nothing."""


class ChangeOperator(Operator):
    """A step that makes a table; its rows are changes, which go to both outputs."""

    def ports(self, batch: AnyBatch, context: Context) -> Outputs:
        """New values and changes."""
        del context
        return batch.with_values([change.new for change in batch.values]), batch


def change_serde(value: Serde[Any]) -> Serde[Change]:
    """A byte that says which values are there, the length of the old one, and both values."""
    encode, decode = value.encode, value.decode

    def encode_both(change: Change) -> bytes:
        old = b"" if change.old is None else encode(change.old)
        new = b"" if change.new is None else encode(change.new)
        there = (change.old is not None) * _HAS_OLD + (change.new is not None) * _HAS_NEW
        return b"%c%b%b%b" % (there, len(old).to_bytes(4, "big"), old, new)

    def decode_both(data: bytes) -> Change:
        end = 5 + int.from_bytes(data[1:5], "big")
        old = decode(data[5:end]) if data[0] & _HAS_OLD else None
        return Change(old, decode(data[end:]) if data[0] & _HAS_NEW else None)

    return Serde(f"change({value.name})", encode_both, decode_both, shape=value.shape)
