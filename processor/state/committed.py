"""What is committed of a store, as other threads read it beside the worker's loop.

Never a write of a transaction that is open: what is committed is in the store, or waits to be
written there.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

from processor.state.overlay import Overlay
from processor.state.store import Page, Store


class Committed:
    """One store as of about when this is made.

    Args:
        store: What is written.
        lately: What may not be written yet, the latest first.
    """

    def __init__(self, store: Store, lately: Sequence[Mapping[bytes, bytes | None]] = ()) -> None:
        self.store = store
        self._lately = lately

    @staticmethod
    def of(overlay: Overlay) -> "Committed":
        """What is committed of a store that a task works with."""
        return Committed(overlay.store, overlay.committed_lately)

    @cached_property
    def fresh(self) -> Mapping[bytes, bytes | None]:
        """All that may not be written yet; None: deleted."""
        merged: dict[bytes, bytes | None] = {}
        for layer in reversed(self._lately):
            merged.update(layer)
        return merged

    def peek_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The committed value of each key, None where there is none.

        Raises:
            StoreAway: The store is closed, or being restored.
        """
        found: dict[bytes, bytes | None] = {}
        for layer in reversed(self._lately):
            found.update((key, layer[key]) for key in keys if key in layer)
        if missing := [key for key in keys if key not in found]:
            stored = self.store.peek_many(missing)
            found.update(zip(missing, stored, strict=True))
        return list(map(found.__getitem__, keys))

    def peek(self, start: bytes, end: bytes | None, most: int) -> Page:
        """The first rows from `start` to before `end`: about so many, or fewer that are large.

        Raises:
            StoreAway: The store is closed, or being restored.
        """
        fresh = self.fresh
        stored = self.store.peek(start, end, most)
        last = end if stored.next is None else stored.next
        merged: dict[bytes, bytes | None] = {
            **dict(stored.rows),
            **{k: v for k, v in fresh.items() if k >= start and (last is None or k < last)},
        }
        rows = [(key, value) for key, value in sorted(merged.items()) if value is not None]
        return Page(rows, stored.next)
