"""When a run with `until_end` is at its end: all input is committed, all that was open is emitted.

What steps hold back until more records come is emitted stage by stage, since it may be the input of
later stages. Only where `idle_timeout` says that silent input ends what is open.
"""

import time

from processor.kafka.progress import Backlog
from processor.node.supervisor import Supervisor

_PATIENCE = 10.0
"""Seconds to wait for what is held back: input that goes on is not at its end."""


class Ending:
    """Watches a run until its end.

    Args:
        backlog: What is to be committed.
        supervisor: Of the workers.
        reports: Whether what is held back is reported in the end.
    """

    def __init__(self, backlog: Backlog, supervisor: Supervisor, *, reports: bool) -> None:
        self._backlog = backlog
        self._supervisor = supervisor
        self._left = list(enumerate(backlog.stages, 1)) if reports else []
        self._ended: list[str] = []
        self._next: int | None = None
        """While a stage's steps are to say what they hold back, the number of the next stage."""
        self._until = 0.0

    def is_reached(self) -> bool:
        """Whether there is nothing left to do; has the next stage reported if that is all.

        Raises:
            KafkaError: The broker does not say what is committed.
        """
        if not self._backlog.look():
            return False
        if self._next is not None:
            if self._supervisor.end_input(self._ended) or time.monotonic() > self._until:
                self._backlog.again(self._next)
                self._next = None
            return False
        if not self._left:
            return True
        self._next, topics = self._left.pop(0)
        self._ended += topics
        self._until = time.monotonic() + _PATIENCE
        return False
