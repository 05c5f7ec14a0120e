"""`on_bad_record` by the book for the reference interpreter, and random ones for topologies."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from hypothesis import strategies as st

from processor.operators.process import Process
from processor.records import Record
from processor.topology.graph import OnBadRecord, Sink, Step

AnyRecord = Record[Any, Any]
Rows = list[AnyRecord]


class Failed(Exception):
    """A record is bad: by which row, where one alone is to blame, and what happens to it."""

    row: AnyRecord | None = None
    policy: str | None = None


class Decides:
    """A handler: goes by the record alone, makes new ones, and fails itself at times."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Decides({self.number})"

    def __call__(self, error: Exception, record: AnyRecord) -> Any:
        match (record.timestamp + self.number) % 6:
            case 0:
                return "skip"
            case 1:
                return "dead-letter"
            case 2:
                return None
            case 3:
                raise ValueError("the handler fails") from error
            case _:
                return record._replace(value=self.number, headers=(("fixed", b"1"),))


def on_errors() -> st.SearchStrategy[OnBadRecord]:
    return st.one_of(st.sampled_from(["skip", "dead-letter"]), st.integers(0, 11).map(Decides))


@contextlib.contextmanager
def at(row: AnyRecord) -> Generator[None]:
    """What fails inside fails by this row."""
    try:
        yield
    except Failed as bad:
        bad.row = row
        raise


def step(node: Step, rows: Rows, run: Callable[[Step, Rows], dict[int, Rows]]) -> dict[int, Rows]:
    """What a step makes of the rows of one record."""
    on_bad_record = node.on_bad_record
    with_state = node.stores or isinstance(node.operator, Process) or node.operator.of_changes
    if with_state or not callable(on_bad_record):
        with _judged(on_bad_record, rows):
            return run(node, rows)
    made: dict[int, Rows] = {}
    for row in rows:
        fixed: Rows = []
        outputs: dict[int, Rows] = {}
        with _judged(on_bad_record, [row], fixed):
            outputs = run(node, [row])
        if fixed:
            outputs = {max(0, len(node.outputs) - 1): fixed}
        for port, some in outputs.items():
            made.setdefault(port, []).extend(some)
    return made


def late(node: Step, row: AnyRecord, bad: Failed) -> None:
    """What a handler says of a late row, if nobody else has said it."""
    if bad.policy is None and callable(node.on_bad_record):
        with contextlib.suppress(Failed), _judged(node.on_bad_record, [row]):
            raise bad


def sink(node: Sink, rows: Rows, run: Callable[[Sink, Rows], list[Any]]) -> list[Any]:
    """What a sink writes."""
    if not callable(node.on_bad_record):
        with _judged(node.on_bad_record, rows):
            return run(node, rows)
    made: list[Any] = []
    again: Rows = []
    for number, row in enumerate(rows):
        fixed: Rows = []
        with _judged(node.on_bad_record, [row], fixed):
            made += [(number, each) for each in run(node, [row])]
        again += fixed
        made += [(number, None)] * len(fixed)
    outputs = iter([each for row in again for each in run(node, [row])])
    return [next(outputs) if each is None else each for _, each in made]


@contextlib.contextmanager
def _judged(
    on_bad_record: OnBadRecord | None, rows: Rows, fixed: Rows | None = None
) -> Generator[None]:
    try:
        yield
    except Failed as bad:
        if not callable(on_bad_record):
            bad.policy = on_bad_record
            raise
        try:
            answer = on_bad_record(bad, bad.row or rows[0])
        except ValueError:
            raise bad from None
        if isinstance(answer, Record):
            if fixed is None:
                raise
            fixed.append(answer)
            return
        bad.policy = answer
        raise
