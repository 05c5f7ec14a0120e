"""The verdict on a chaos run, and all that is known of it, as people and machines read it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from processor.chaos.compare import Compared
from processor.chaos.rules import Rule
from processor.chaos.schedule import Fault
from processor.chaos.standstill import Standstill

_REPORTED = 100
"""Differences of one topic that machines read; their number is always reported."""


class Happening(NamedTuple):
    """Something that happened; milliseconds since the beginning."""

    at: int
    text: str
    fault: Fault | None = None


@dataclass(frozen=True)
class Verdict:
    """What the ledger says.

    Attributes:
        problems: What is wrong with the whole: input not processed, transactions left open.
        compared: Each topic and store.
        notes: What is odd about the run itself, such as input that the broker has lost: the
            application is judged by the input that is there.
    """

    problems: Sequence[str]
    compared: Sequence[Compared]
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is lost, doubled or out of order, as far as it is known."""
        return not self.problems and not any(each.differences for each in self.compared)


@dataclass(frozen=True)
class Report:
    """A chaos run from beginning to end."""

    seed: int
    seconds: float
    nodes: int
    schedule: Sequence[Fault]
    happenings: Sequence[Happening]
    records_in: int
    records_out: int
    adoptions: int
    longest: Standstill | None
    verdict: Verdict

    @property
    def faults(self) -> Sequence[Happening]:
        """The faults that were carried out."""
        return [each for each in self.happenings if each.fault is not None]


def cause_of(longest: Standstill, faults: Sequence[Happening]) -> Happening | None:
    """The last fault that began before a standstill ended."""
    before = [fault for fault in faults if fault.at < longest.until]
    return before[-1] if before else None


def as_json(report: Report) -> Mapping[str, Any]:
    """A report for machines; times in seconds."""
    verdict, longest = report.verdict, report.longest
    cause = longest and cause_of(longest, report.faults)
    return {
        "passed": verdict.passed,
        "seed": report.seed,
        "seconds": report.seconds,
        "nodes": report.nodes,
        "records_in": report.records_in,
        "records_out": report.records_out,
        "adoptions": report.adoptions,
        "longest_standstill": longest
        and {
            "partition": str(longest.source),
            "from": longest.since / 1000,
            "seconds": longest.lasted / 1000,
            "after": cause and cause.text,
        },
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
        "compared": [_compared(each) for each in verdict.compared],
        "schedule": [_fault(each) for each in report.schedule],
        "happenings": [
            {"at": each.at / 1000, "what": each.text, "fault": each.fault is not None}
            for each in report.happenings
        ],
    }


def _fault(fault: Fault) -> Mapping[str, Any]:
    return {
        "at": fault.at / 1000,
        "fault": str(fault.kind),
        "node": fault.node if fault.node > 0 else None,
        "choice": fault.choice,
        "seconds": fault.lasts / 1000,
    }


def _compared(compared: Compared) -> Mapping[str, Any]:
    differences = compared.differences
    return {
        "name": compared.name,
        "compared": compared.judgement.rule is not Rule.NOTHING,
        "how": compared.judgement.rule.value,
        "why": compared.judgement.reason,
        "found": compared.found,
        "expected": compared.expected,
        "undecided_keys": compared.undecided,
        "differences": len(differences),
        "first_differences": [
            {"what": each.fate, "text": str(each)} for each in differences[:_REPORTED]
        ],
    }
