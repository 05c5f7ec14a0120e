"""Every error that kproc raises, grouped by who recovers and how.

KprocError                     base; carries the exit code of `kproc run`
├── UsageError            (2)  nobody: change the command, a setting or the topology, start again
│   ├── SettingsError          a setting is unknown, malformed or contradicts another
│   └── TopologyError          the topology is wrong in itself; raised before any connection
├── KafkaError            (3)  an operator: the cluster is not as the topology needs it
│   ├── BrokerUnreachable      no broker answers
│   ├── TopicMismatch          a topic is missing or has other partitions or settings
│   ├── RegistryUnreachable    the schema registry does not answer
│   ├── SchemaRefused          the schema registry has no such schema, or does not take it
│   └── PermissionDenied       the broker forbids what is needed
├── BadRecordError        (4)  an operator: a record failed and its policy is `fail`
├── StateError            (5)  the worker where it can, else an operator
│   ├── StoreLocked            another process has the store open: wait for it to end
│   ├── StoreCorrupt           the store can't be read: it is dropped and rebuilt
│   ├── StoreAway              it is closed or being restored: whoever asks it from beside waits
│   ├── RestoreStalled         the changelog yields nothing more before its end
│   ├── StateUnreadable        an operator: what a store holds has none of its topology's types
│   ├── StateMismatch          an operator: the topology would lose what the application holds
│   └── SnapshotError          object storage fails: the next snapshot, an older one, the changelog
├── Fenced                (6)  nobody: another worker has the slot now; this one must stop
├── WorkerFailed          (7)  an operator: a worker keeps crashing and is not started again
├── Interrupted           (8)  the next worker: what was committed is found out by taking over
│   └── TooSlow                the next one with fewer records at once; an operator where one record
│       │                      alone takes too long
│       ├── TransactionTimedOut  by transaction_timeout
│       └── MembershipTimedOut   by consumer.max.poll.interval.ms
├── ActuatorFailed       (10)  the autoscaler at its next turn: nodes can't be counted or started
└── QueryError           (11)  who asks a store: change the question
    └── StoreUnavailable       ask again after a while; how long, it says
"""

from pathlib import Path
from typing import ClassVar


class KprocError(Exception):
    """Base of all errors of kproc; its text says what is wrong and what to do."""

    exit_code: ClassVar[int] = 1


class UsageError(KprocError):
    """The command, a setting or the topology must be changed before a new start."""

    exit_code = 2


class SettingsError(UsageError):
    """A setting is unknown, malformed or contradicts another."""


class TopologyError(UsageError):
    """The topology is wrong in itself; raised before any connection."""


class KafkaError(KprocError):
    """The cluster is not as the topology needs it."""

    exit_code = 3


class BrokerUnreachable(KafkaError):
    """No broker answers at the given addresses."""


class TopicMismatch(KafkaError):
    """A topic is missing, or has other partitions or settings than the topology needs."""


class RegistryUnreachable(KafkaError):
    """The schema registry does not answer; a later try may do better."""


class SchemaRefused(KafkaError):
    """The schema registry lacks a schema that is to be there, or does not take one."""


class PermissionDenied(KafkaError):
    """The broker forbids an operation that the topology needs."""


class RecordRefused(KafkaError):
    """A topic refuses a record, however often it is sent."""


class BadRecordError(KprocError):
    """A record failed and its policy is `fail`; its place is in the text."""

    exit_code = 4


class StateError(KprocError):
    """A store can't be opened, read or restored."""

    exit_code = 5


class StoreLocked(StateError):
    """Another process has the store open."""


class StoreCorrupt(StateError):
    """The store can't be read; dropping it and restoring from the changelog fixes it.

    `path` is its folder, where that is known.
    """

    def __init__(self, text: str, path: Path | None = None) -> None:
        super().__init__(text)
        self.path = path


class StoreAway(StateError):
    """The store is closed, or is being restored: it can't be read beside its worker's loop."""


class RestoreStalled(StateError):
    """The changelog yields nothing more although its end is not reached."""


class StateMismatch(StateError):
    """The topology does not fit the state that the application has; nothing was changed."""


class StateUnreadable(StateError):
    """A store has a value that its serde can't read; the store and the key are in the text."""


class SnapshotError(StateError):
    """A snapshot can't be written or read; work goes on without it."""


class SnapshotsAway(SnapshotError):
    """Object storage does not answer, or has trouble of its own; later it may do better."""


class Fenced(KprocError):
    """Another worker has taken over the slot; this one has to stop."""

    exit_code = 6


class WorkerFailed(KprocError):
    """A worker keeps crashing; it is not started again."""

    exit_code = 7


class Interrupted(KprocError):
    """A transaction's outcome is not known, or the client is of no use any more.

    The worker ends; the next one takes over its transactional id and finds out what was committed.
    """

    exit_code = 8


class TooSlow(Interrupted):
    """A function took longer than brokers wait for the worker; which, and at what, is in the text.

    The text is the same each time that it happens at the same place, so that it is noticed.

    Attributes:
        records: Among so many it is.
    """

    def __init__(self, text: str, records: int = 0) -> None:
        super().__init__(text)
        self.records = records


class TransactionTimedOut(TooSlow):
    """The brokers have aborted a transaction that was open for too long."""


class MembershipTimedOut(TooSlow):
    """The group took the worker's partitions back, as it asked for no records for too long."""


class ActuatorFailed(KprocError):
    """What runs the nodes does not answer or refuses; the autoscaler reports so and tries again."""

    exit_code = 10


class QueryError(KprocError):
    """A query of a store can't be answered as it is.

    Args:
        text: What is wrong, and what to do.
        code: Which kind of error it is, the same in the answers of nodes.
    """

    exit_code = 11

    def __init__(self, text: str, code: str = "malformed") -> None:
        super().__init__(text)
        self.code = code


class StoreUnavailable(QueryError):
    """Nobody can answer just now, such as while a slot moves; a later try may do better.

    Args:
        text: Why.
        code: Which kind of error it is.
        retry_after: Seconds after which to ask again.
    """

    def __init__(self, text: str, code: str = "moving", retry_after: float = 1.0) -> None:
        super().__init__(text, code)
        self.retry_after = retry_after
