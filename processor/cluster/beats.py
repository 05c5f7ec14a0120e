"""What nodes report to each other: the records of the application's slots topic.

The topic has one partition, so that all nodes read the same records in the same order, and the
broker sets their timestamps, so that all nodes agree how much time has passed between them.
"""

from typing import Literal

import msgspec

Role = Literal["primary", "backup"]
Reason = Literal["start", "failure", "crash", "leave", "move"]
"""Why a slot changes hands."""

ReplicaState = Literal[
    "starting",
    "restoring",
    "waiting",
    "ready",
    "running",
    "stopping",
    "silent",
    "crashed",
    "deprived",
    "stuck",
]


class WorkerFigures(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a worker does."""

    lag: int | None = None  # records: of a primary behind its input, of a backup behind changelogs
    rate: float = 0.0  # records per second
    busy: float = 0.0  # share of the time in which it doesn't wait for records
    cpu: float | None = None  # processor cores in use, as a share of one
    starved: float = 0.0  # share of the time in which it waits for a processor
    bytes: int = 0  # of its stores on disk
    restored: float = 0.0  # bytes per second of its last restore; 0 if there was none
    judged: int = 0  # records that came to steps which judge whether they are late
    late: int = 0  # those that were
    held: tuple[str, ...] = ()  # tasks whose time waits for others upstream, and for whom
    withheld: str = ""  # partitions that are kept from it, and by whom
    turn_age: float = 0.0  # seconds since its loop last turned, or went on to another record
    stuck: str = ""  # the function that does not return, and at which record


class Replica(WorkerFigures, frozen=True):
    """What a node says of its worker for one slot.

    A backup is `starting`, then `restoring` until it has caught up with the changelogs, then
    `ready`. A primary is `starting`, `restoring` while none of its tasks is open, `waiting` until
    the group gives it its partitions, then `running`.
    It is `deprived` while others in the group keep partitions from it: `withheld` names them.
    One is `stuck` whose loop has not moved on for `stuck_after`: `stuck` names the function.
    A `silent` worker has not answered its supervisor for `failover_timeout`; one that has `crashed`
    will be started again.
    """

    slot: int
    role: Role
    state: ReplicaState


class Claim(msgspec.Struct, frozen=True):
    """A node takes over a slot. Of all claims with one term the first in the topic counts."""

    slot: int
    term: int


class Adoption(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a node took over a slot: the seconds of each step."""

    slot: int
    term: int
    reason: Reason
    predecessor: str  # a node's name, empty if there was none
    fence: float
    catch_up: float
    join: float
    at: int = 0  # ms: the broker's time of the beat with the claim; 0 where it is not known


class Beat(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's heartbeat. Its claims stand in each of its beats for as long as it holds them."""

    node: str  # stays the same when the node is started again with its state folder
    boot: str  # another with each start
    slots: int  # of the application; all nodes have to agree
    name: str = ""  # for people: host name and process id
    zone: str = ""
    weight: float = 1.0
    cores: float = 0.0  # that the node may use; 0 if not known
    leaving: bool = False  # takes no slots any more
    claims: tuple[Claim, ...] = ()  # in the order in which they were made
    replicas: tuple[Replica, ...] = ()
    adoptions: tuple[Adoption, ...] = ()  # the last one of each slot that it holds
    epoch: int = 0  # of the application's description that the node started with
    http: str = ""  # where other nodes ask its stores: http://host:port
