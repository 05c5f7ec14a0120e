"""Deletions: topics that somebody deletes, or deletes and makes again, while the application runs.

Clients notice them late, as something else, or, where a topic with the name is there again, never:
they go on at an offset that means another record. Owns the look at the topics' ids. What a deletion
means for a store or an input is said where a start says it, in `topology.changes`.
"""

import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.cimpl import KafkaError as ClientError

from processor.errors import KafkaError, KprocError, StateMismatch, TopicMismatch
from processor.kafka.changelogs import topic_id
from processor.kafka.clients import admin_client, topics_of
from processor.kafka.description import changes, check_current, last_description
from processor.topology.plan import Layout
from processor.worker.spec import WorkerSpec

_LOOK = 10.0
"""Seconds between two looks."""

_AGAIN = 1.0
"""Seconds after which it is looked again if a topic seems to be gone: one broker may be behind."""

_TIMEOUT = 10.0
_PROMPT = 2.0


class Deletions:
    """Looks whether the topics are still those that the application was started with.

    Args:
        spec: The slot's work, with the topics' ids.
        layout: Of the application.
    """

    def __init__(self, spec: WorkerSpec, layout: Layout) -> None:
        self._spec = spec
        self._layout = layout
        plan = layout.plan
        self._needed = {*plan.inputs, *plan.tables, *plan.outputs}
        self._own = {topic.name for topic in layout.internal_topics}
        self._known = {**dict.fromkeys(plan.outputs, ""), **spec.settled.ids}
        self._turned = time.monotonic()
        self._due = self._turned + _LOOK
        self._asked: Mapping[str, Future[Any]] = {}
        self._suspected = frozenset[str]()

    def look(self) -> None:
        """Looks again, if it is time to, and waits for nothing while all is as it was.

        Raises:
            KprocError: A topic was deleted.
        """
        now = self._turned = time.monotonic()
        if now >= self._due and self._known:
            self._due = now + _LOOK
            wanted = TopicCollection(sorted(self._known))
            self._asked = self._admin.describe_topics(wanted, request_timeout=_TIMEOUT)
        if self._asked and all(each.done() for each in self._asked.values()):
            asked, self._asked = self._asked, {}
            others = (topic for topic, answer in asked.items() if self._is_other(topic, answer))
            before, self._suspected = self._suspected, frozenset(others)
            if before & self._suspected:
                self.check()
                for topic in self._suspected:  # it does without it, or finds it out by itself
                    del self._known[topic]
            elif self._suspected:
                self._due = now + _AGAIN

    def look_after_abort(self) -> None:
        """Looks whether a transaction failed because a topic is gone, which takes the client long.

        Raises:
            KprocError: One is.
        """
        if time.monotonic() - self._turned < _LOOK:
            return
        with suppress(KafkaException):
            there = self._admin.list_topics(timeout=_PROMPT).topics
            if (self._needed | self._own) - there.keys():
                self.check()

    def check(self) -> None:
        """Finds out now what was deleted since the application was started, if anything was.

        Raises:
            StateMismatch: An input or a store's changelog, so that state would be lost; or the
                application was changed on purpose.
            TopicMismatch: Another topic that is needed.
            KafkaError: Kafka does not answer.
        """
        client, plan = self._spec.clients.kafka, self._layout.plan
        found = topics_of(client, self._admin)
        there = {name: len(topic.partitions) for name, topic in found.items()}
        before = last_description(client, plan, there)
        check_current(before, self._spec.settled.stamp, plan.application)
        refused = [
            each for each in changes(client, self._layout, there, before) if each.action == "refuse"
        ]
        if refused:
            lines = "".join(f"\n  {each.what} {each.name}: {each.why}" for each in refused)
            raise StateMismatch(
                f"topics were deleted while {plan.application} ran: what it holds has no place "
                f"any more.{lines}"
            )
        if gone := sorted(self._needed - there.keys()):
            raise TopicMismatch(
                f"{', '.join(gone)} was deleted while {plan.application} ran: create it, then "
                "start again. If it is an input, that start says what happens to the state"
            )
        if gone := sorted(self._own - there.keys()):
            raise TopicMismatch(
                f"{', '.join(gone)} was deleted while {plan.application} ran: start again, which "
                "creates it"
            )

    def explain(self, error: KprocError) -> None:
        """Says that a deletion is the cause of an error, if it is.

        Raises:
            KprocError: It is.
        """
        try:
            self.check()
        except (StateMismatch, TopicMismatch) as cause:
            raise cause from error
        except KafkaError:
            return  # what is known has to do

    def _is_other(self, topic: str, answer: Future[Any]) -> bool:
        """Whether it is known that the topic is not the one that there was."""
        with suppress(KafkaException):
            return self._known[topic] not in ("", topic_id(answer.result()))
        error: Any = answer.exception()
        return error.args[0].code() == ClientError.UNKNOWN_TOPIC_OR_PART

    @cached_property
    def _admin(self) -> Any:
        # Kept: a client that is let go of gives up what it was asked for.
        return admin_client(self._spec.clients.kafka)
