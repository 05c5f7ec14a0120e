"""A schema registry for tests: in memory; it takes every schema, compatible or not."""

from collections.abc import Callable
from typing import TypeVar
from zlib import crc32

from processor.errors import SchemaRefused
from processor.serdes.registry import Answer, ById, Question, SchemasMissing, SchemaText

R = TypeVar("R")


class MemoryRegistry:
    """Schemas by their ids and subjects; equal schemas have equal ids in every such registry."""

    def __init__(self) -> None:
        self.schemas: dict[int, SchemaText] = {}
        self.subjects: dict[str, list[int]] = {}

    def register(self, subject: str, schema: SchemaText) -> Answer:
        """Makes the schema the latest of a subject, if the subject does not have it yet."""
        schema_id = crc32(repr(schema).encode()) >> 1
        self.schemas[schema_id] = schema
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return Answer(schema_id, schema, versions.index(schema_id) + 1)

    def answer(self, missing: SchemasMissing) -> None:
        """Answers what a serde asks.

        Raises:
            SchemaRefused: It asks for the latest schema of a subject that has none.
        """
        missing.registry.answer({each: self._answer(each) for each in missing.questions})

    def resolve(self, function: Callable[[], R]) -> R:
        """What the function gives when everything that it asks for is answered."""
        while True:
            try:
                return function()
            except SchemasMissing as missing:
                self.answer(missing)

    def _answer(self, question: Question) -> Answer | None:
        if isinstance(question, ById):
            schema = self.schemas.get(question.id)
            return None if schema is None else Answer(question.id, schema)
        if question.schema is not None:
            return self.register(question.subject, question.schema)
        if question.subject not in self.subjects:
            raise SchemaRefused(f"the registry has no subject {question.subject}: register one")
        latest = self.subjects[question.subject][-1]
        return Answer(latest, self.schemas[latest], len(self.subjects[question.subject]))
