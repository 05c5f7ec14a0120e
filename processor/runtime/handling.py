"""What `on_bad_record` makes of the rows that fail in a node: a policy, or another record.

Owns the asking of a user's handler. What a policy then means for the record is said in
`badrecords`; which records are tried again without which is the task's business.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

from processor.operators.base import (
    AnyBatch,
    Context,
    Outputs,
    Rejected,
    Unattributed,
    checked,
)
from processor.operators.changes import Change
from processor.records import (
    Batch,
    Offset,
    Policy,
    Record,
    in_order,
)
from processor.topology.graph import ErrorHandler, Step

AnyRecord = Record[Any, Any]
Made = TypeVar("Made")

_LATE = "late"
_ANSWERS = (None, *get_args(Policy))


def process(step: Step, rows: AnyBatch, context: Context, *, is_stateless: bool) -> Outputs:
    """What a step makes of rows; those that fail are judged by its `on_bad_record`.

    A handler's records go on downstream of a step without state; of a split in its last output.
    """

    def work(rows: AnyBatch) -> Outputs:
        return step.operator.process(rows, context)

    def add(made: Outputs, fixed: AnyBatch) -> Outputs:
        return (*made[:-1], in_order([made[-1], fixed]))

    if not callable(step.on_bad_record):
        return with_policy(step.on_bad_record, rows, context, work)
    if not is_stateless or step.operator.of_changes:
        return _asked(step, step.on_bad_record, rows, context)
    shown = _unsided(rows) if step.operator.sided else rows
    made = by_number(step.on_bad_record, rows, context, work, add, shown)
    return tuple(renumbered(batch, rows.offsets) for batch in made)


def with_policy(
    policy: Policy | None, rows: AnyBatch, context: Context, work: Callable[[AnyBatch], Made]
) -> Made:
    """What `work` makes of rows, those that fail with a policy of their own."""
    known = len(context.failures.rejected)
    try:
        return work(rows)
    except Unattributed as error:
        error.policy = policy
        raise
    finally:
        if policy is not None:
            later = context.failures.rejected[known:]
            context.failures.rejected[known:] = [each._replace(policy=policy) for each in later]


def by_number(
    handler: ErrorHandler,
    rows: AnyBatch,
    context: Context,
    work: Callable[[AnyBatch], Made],
    add: Callable[[Made, AnyBatch], Made],
    shown: AnyBatch | None = None,
) -> Made:
    """What `work` makes of rows, and of the records that a handler gives for those that fail.

    The rows go by their numbers, so that each is found again; so does what is made of them.

    Args:
        handler: Asked about each row that failed.
        rows: What comes to the node, which must be without state.
        context: Of the task; has the rows that stay rejected afterwards.
        work: Is given the rows.
        add: Adds the handler's records to what was made.
        shown: The rows as the handler sees them, if not as they are.
    """
    known = len(context.failures.rejected)
    made = work(rows.numbered())
    failed, context.failures.rejected[known:] = context.failures.rejected[known:], []
    fixed: list[AnyBatch] = []
    for each in sorted(failed, key=lambda bad: bad.offset):
        answer = _answer(each, handler, _row(shown or rows, each.offset))
        if isinstance(answer, Rejected):
            context.failures.rejected.append(answer)
        else:
            key, value, timestamp, headers = answer
            fixed.append(Batch([key], [value], [timestamp], [each.offset], [headers]))
    if fixed:
        made = add(made, in_order(fixed))
    context.failures.rejected[known:] = [
        each._replace(offset=rows.offsets[each.offset])
        for each in context.failures.rejected[known:]
    ]
    return made


def renumbered(batch: AnyBatch, offsets: Sequence[Offset]) -> AnyBatch:
    """Rows that went by their numbers, with the offsets that these stand for."""
    own = [offsets[number] for number in batch.offsets]
    return Batch(batch.keys, batch.values, batch.timestamps, own, batch.headers)


def _asked(step: Step, handler: ErrorHandler, rows: AnyBatch, context: Context) -> Outputs:
    """At a step that no other record can go through, as by then it may have changed its state."""
    known, noted, sided = (
        len(context.failures.rejected),
        len(context.failures.noted),
        step.operator.sided,
    )
    shown = _unsided(rows) if sided else rows
    try:
        made = step.operator.process(rows, context)
    except Unattributed as error:
        cause = error.__cause__
        failure = cause if isinstance(cause, Exception) else error
        context.failures.rejected.append(Rejected(rows.offsets[0], context.step, "state", failure))
        made = ()

    def judged(each: Rejected) -> Rejected:
        own = None if sided and each.reason != _LATE else each.row
        record = _row(*(own or (shown, _number(shown, each))))
        if isinstance(record.value, Change):
            record = record._replace(value=record.value.new)
        answer = _answer(each, handler, record)
        if not isinstance(answer, Rejected):
            answer = each._replace(error=_no_place(each.step))
        return answer

    context.failures.rejected[known:] = list(map(judged, context.failures.rejected[known:]))
    context.failures.noted[noted:] = [
        judged(each) if each.reason == _LATE and each.policy is None else each
        for each in context.failures.noted[noted:]
    ]
    return made


def _answer(bad: Rejected, on_bad_record: ErrorHandler, record: AnyRecord) -> Rejected | AnyRecord:
    """The record that takes the place of the one that failed, or what happens to that one."""
    try:
        answer: Any = on_bad_record(bad.error, record)
        if isinstance(answer, Record):
            return checked(answer)
        if answer not in _ANSWERS:
            raise TypeError(  # noqa: TRY301 - as if the handler itself had failed
                f"on_bad_record gave {answer!r}: return 'fail', 'skip', 'dead-letter', None or "
                "a Record"
            )
    except Exception as error:  # noqa: BLE001 - whatever a user's handler raises
        return bad._replace(error=error)
    return bad._replace(policy=answer)


def _no_place(node: str) -> TypeError:
    return TypeError(
        f"on_bad_record gave a record for one that failed in {node}, where none can take its "
        "place: return 'fail', 'skip', 'dead-letter' or None there"
    )


def _number(rows: AnyBatch, bad: Rejected) -> int:
    """The first row of the record that failed; of one that is not among them, the first."""
    return rows.offsets.index(bad.offset) if bad.offset in rows.offsets else 0


def _unsided(rows: AnyBatch) -> AnyBatch:
    """The rows of a step with several parents as they were before, without the parents' numbers."""
    return rows.with_values([value for _, value in rows.values])


def _row(rows: AnyBatch, number: int) -> AnyRecord:
    (record,) = rows.take([number]).records()
    return record
