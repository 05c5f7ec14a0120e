"""What is wrong with an application as a node sees it, and what to do. Pure functions."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from processor.cluster.overview import Overview, Worker
from processor.cluster.verdict import numbers, verdict
from processor.health.history import Event
from processor.node.accounting import Figures
from processor.node.lateness import LATE_ADVICE, most_late

_STARVED: Final = 0.3
"""A larger share of the time without a free processor is worth a word."""

_BUSY: Final = 0.95
_BEHIND: Final = 10.0
"""Seconds of work that wait: more than that is worth a word."""


class Problem(msgspec.Struct, frozen=True):
    """Something that is wrong."""

    level: Literal["error", "warning"]
    what: str
    advice: str


def problems(
    overview: Overview,
    figures: Figures,
    warnings: Iterable[Event],
    dead_letters: str,
    *,
    backed_up: bool = False,
) -> tuple[Problem, ...]:
    """All that is wrong, the worst first.

    Args:
        overview: The application.
        figures: Of this node's workers.
        warnings: What was logged here and still counts.
        dead_letters: The topic where bad records are kept; empty: they are dropped.
        backed_up: Whether slots should have backups.
    """
    found = [
        *_of_slots(overview),
        *(_without_backup(overview) if backed_up else ()),
        *_logged(warnings),
        *_of_records(figures, dead_letters),
        *_of_load(overview),
    ]
    return tuple(sorted(found, key=lambda each: each.level != "error"))


def _of_slots(overview: Overview) -> Iterator[Problem]:
    if not overview.healthy:
        yield Problem("error", "Not all slots are worked on", verdict(overview))
    for slot in overview.slots:
        if slot.primary is None:
            continue
        for text in slot.primary.held:
            yield Problem(
                "warning",
                f"Time is held back: task {text}",
                "See what that slot is at; max_upstream_wait bounds the wait, so that what comes "
                "later may be late.",
            )


def _without_backup(overview: Overview) -> Iterator[Problem]:
    if alone := [each.slot for each in overview.slots if each.live and not each.backups]:
        yield Problem(
            "warning",
            f"{_slots(alone)} without a backup",
            "Start another node with `kproc run`: until then a failure costs a restore.",
        )


def _logged(warnings: Iterable[Event]) -> Iterator[Problem]:
    """What several slots warn of is one problem."""
    kinds: dict[str, list[Event]] = {}
    for each in warnings:
        kinds.setdefault(each.kind, []).append(each)
    for kind, found in kinds.items():
        slots = sorted({each.slot for each in found if each.slot is not None})
        what = f"{_slots(slots)}: {kind}" if slots else kind.capitalize()
        texts = list(dict.fromkeys(each.text for each in found))
        more = f" (and {len(texts) - 1} more like this, see the events)" if len(texts) > 1 else ""
        is_error = any(each.level == "error" for each in found)
        yield Problem("error" if is_error else "warning", what, f"{texts[0]}{more}")


def _of_records(figures: Figures, dead_letters: str) -> Iterator[Problem]:
    # Those that were late have a problem of their own.
    bad = Counter({why: n for why, n in figures.bad_records.items() if why.reason != "late"})
    if bad:
        place, count = bad.most_common(1)[0]
        kept = (
            f"They are kept in {dead_letters}: `kproc dlq list` shows them and their errors, "
            "`kproc dlq replay` tries them again."
            if dead_letters
            else "They were dropped: on_bad_record = dead-letter keeps them."
        )
        most = f", most ({count:,}) at {place}" if len(bad) > 1 else f" at {place}"
        yield Problem("warning", f"{bad.total():,} records could not be processed{most}", kept)
    if worst := most_late(figures.late):
        late = figures.late[worst]
        what = f"{late.late:,} of {late.judged:,} records came late to {worst}"
        advice = LATE_ADVICE.format(step=worst)
        yield Problem("warning", what, f"{advice[0].upper()}{advice[1:]}.")


def _of_load(overview: Overview) -> Iterator[Problem]:
    primaries = [(each.slot, each.primary) for each in overview.slots if each.primary is not None]
    if starved := [slot for slot, each in primaries if each.starved > _STARVED]:
        yield Problem(
            "warning",
            f"{_slots(starved)} often without a free processor",
            "Add a node on another machine, or cores here: the slots of a node share its cores.",
        )
    if full := [slot for slot, each in primaries if _is_full(each)]:
        yield Problem(
            "warning",
            f"{_slots(full)} always busy, and behind",
            "Make the slowest step faster, or `kproc rescale` to more slots on more cores.",
        )


def _slots(slots: Iterable[int]) -> str:
    listed = numbers(slots)
    return f"Slot {listed}" if listed.isdecimal() else f"Slots {listed}"


def _is_full(worker: Worker) -> bool:
    waiting = (worker.lag or 0) > worker.rate * _BEHIND
    return waiting and worker.busy - worker.starved > _BUSY
