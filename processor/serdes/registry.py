"""What a topology says of a schema registry, and what is known of it so far.

A serde never asks the registry: what it lacks it raises as `SchemasMissing`, and an edge finds the
answers, after which everything that was not committed is done again. So a record waits for a
registry that does not answer; it is never taken for a bad one.

Knows the wire format of Confluent's serializers (a zero byte, the schema's id in four bytes, the
data) and the names of subjects. Knows nothing of HTTP.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from struct import Struct
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from processor.errors import TopologyError
from processor.serdes.base import Part, Serde

SchemaKind: TypeAlias = Literal["AVRO", "JSON", "PROTOBUF"]
SubjectStrategy: TypeAlias = Literal["topic", "record", "topic-record"]

_PREFIX: Final = Struct(">bI")
PREFIX_BYTES: Final = _PREFIX.size
_MOST_ASKED: Final = 50
"""Ids that are asked for at once: a node goes on reporting that it lives in between."""

_MOST_READERS: Final = 1000
"""Functions that are kept for writers' schemas."""

_MOST_ABSENT: Final = 200_000
"""Ids that are remembered as unknown; more than a batch has."""


class Reference(NamedTuple):
    """A schema that another one uses under a name."""

    name: str
    subject: str
    version: int


class SchemaText(NamedTuple):
    """A schema as a registry keeps it; `used` are the texts of those it refers to, in order."""

    kind: SchemaKind
    text: str
    references: tuple[Reference, ...] = ()
    used: tuple[str, ...] = ()


class ById(NamedTuple):
    """Which schema has this id?"""

    id: int


class BySubject(NamedTuple):
    """Which id has this schema under the subject; without a schema, the latest one?"""

    subject: str
    schema: SchemaText | None
    register: bool


Question: TypeAlias = ById | BySubject


class Answer(NamedTuple):
    """A schema that the registry has; with a version where it was asked for under a subject."""

    id: int
    schema: SchemaText
    version: int = 0


class SchemasMissing(BaseException):
    """No failure: what was begun can't go on before these questions are answered.

    Not an `Exception`, so that no function takes it for a failure of its own.
    """

    def __init__(self, registry: "SchemaRegistry", questions: Sequence[Question]) -> None:
        super().__init__(questions)
        self.registry = registry
        self.questions = questions


@dataclass(frozen=True, eq=False)
class SchemaRegistry:
    """How a topology uses the registry of the setting `schema_registry.url`.

    Args:
        subjects: How subjects are called: `topic` (`flights-value`), `record` (the schema's full
            name) or `topic-record` (`flights-kproc.flights.Flight`).
        auto_register: Whether schemas that are written are registered at the start. Otherwise each
            has to be there, see `kproc schema register`.
        use_latest: Whether to write with the subject's latest schema instead of one's own.
        answers: What the registry has said so far; kproc fills it.
        absent: The ids of which it has no schema; kproc fills it.
    """

    subjects: SubjectStrategy = "topic"
    auto_register: bool = False
    use_latest: bool = False
    answers: dict[Question, Answer] = field(default_factory=dict[Question, Answer], repr=False)
    absent: dict[int, None] = field(default_factory=dict[int, None], repr=False)

    def subject(self, topic: str | None, part: Part, name: str) -> str:
        """The subject of a schema.

        Args:
            topic: Where it is used; None: in stores.
            part: `key` or `value`.
            name: The schema's full name.

        Returns:
            The subject; without a topic it is the name.
        """
        if topic is None or self.subjects == "record":
            return name
        return f"{topic}-{part}" if self.subjects == "topic" else f"{topic}-{name}"

    def get(self, question: Question) -> Answer:
        """The answer to a question.

        Args:
            question: By a schema's id, or by subject.

        Returns:
            The answer.

        Raises:
            SchemasMissing: It is not known yet.
            UnknownSchemaError: The registry has no schema of this id.
        """
        if question in self.answers:
            return self.answers[question]
        if isinstance(question, ById) and question.id in self.absent:
            raise UnknownSchemaError(question.id)
        raise SchemasMissing(self, [question])

    def answer(self, answers: Mapping[Question, Answer | None]) -> None:
        """Keeps answers.

        Args:
            answers: By their questions; None: there is no such schema.
        """
        for question, answer in answers.items():
            if answer is not None:
                self.answers[question] = self.answers[ById(answer.id)] = answer
            elif isinstance(question, ById):
                self.absent[question.id] = None
        while len(self.absent) > _MOST_ABSENT:
            del self.absent[next(iter(self.absent))]

    def require(self, column: Sequence[bytes | None]) -> None:
        """Makes sure that all schemas of a column are known, or known not to be there.

        Args:
            column: Keys or values as they are in a topic.

        Raises:
            SchemasMissing: Some are not; with as many of them as may be asked for at once.
        """
        prefixes = {data[:PREFIX_BYTES] for data in column if data}
        ids = {_PREFIX.unpack(each)[1] for each in prefixes if _is_prefix(each)}
        unknown = [ById(each) for each in sorted(ids.difference(self.absent))]
        if missing := [each for each in unknown if each not in self.answers]:
            raise SchemasMissing(self, missing[:_MOST_ASKED])


class UnknownSchemaError(ValueError):
    """The registry has no schema of the id that a record names."""

    def __init__(self, schema_id: int) -> None:
        super().__init__(f"the schema registry has no schema of id {schema_id}")


class NoPrefixError(ValueError):
    """A record does not begin as Confluent's serializers begin it."""

    def __init__(self) -> None:
        super().__init__(
            "the data does not begin with a zero byte and a schema's id, as data of a schema "
            "registry does: was it written without one? Then leave out registry="
        )


def id_of(data: bytes) -> int:
    """The id of the schema that data was written with.

    Raises:
        NoPrefixError: It names none.
    """
    if not _is_prefix(data[:PREFIX_BYTES]):
        raise NoPrefixError
    return _PREFIX.unpack_from(data)[1]


def prefix(schema_id: int) -> bytes:
    """What stands before data that is written with a schema."""
    return _PREFIX.pack(0, schema_id)


def _is_prefix(data: bytes) -> bool:
    return len(data) == PREFIX_BYTES and data[0] == 0


class Format(Protocol):
    """A format of data with schemas: Avro, JSON Schema, Protobuf."""

    @property
    def title(self) -> str:
        """What serdes of it are called: `avro(flights.Flight)`."""
        ...

    @property
    def type(self) -> Any:
        """The type of the values, None if it is not known."""
        ...

    @property
    def faithful(self) -> bool:
        """As `Serde.faithful`."""
        ...

    def name(self, schema: SchemaText) -> str:
        """The full name of what a schema describes."""
        ...

    def own_schema(self, registry: SchemaRegistry) -> SchemaText | None:
        """The schema to write with, if there is one besides the registry's latest.

        Raises:
            SchemasMissing: It uses others whose versions are not known yet.
        """
        ...

    def decoder(self, writer: SchemaText) -> Callable[[bytes, int], Any]:
        """A function that reads data of a writer's schema from a position on.

        Raises:
            TopologyError: Data of that schema can't be read.
        """
        ...

    @property
    def cuts(self) -> bool:
        """As `Serde.cuts`."""
        ...

    @property
    def has_several(self) -> bool:
        """Whether equal values may have several bytes; those of keys have one form."""
        ...

    def encoder(self, writer: SchemaText, *, is_key: bool) -> Callable[[Any, bytes], bytes]:
        """A function that writes data of a schema after what is given.

        Raises:
            TopologyError: Values can't be written with that schema.
        """
        ...


def with_registry(format_: Format, registry: SchemaRegistry) -> Serde[Any]:
    """The serde of a format whose schemas are in a registry."""
    serde = _Use(format_, registry, None, "value").serde
    return replace(serde, for_keys=_Use(format_, registry, None, "key").serde)


class _Use:
    """One use of a format: for keys or values, of a topic or of none in particular."""

    def __init__(
        self, format_: Format, registry: SchemaRegistry, topic: str | None, part: Part
    ) -> None:
        self._format = format_
        self._registry = registry
        self._topic = topic
        self._part: Part = part
        self._readers: dict[int, Callable[[bytes, int], Any]] = {}
        self._write: Callable[[Any, bytes], bytes] | None = None
        self._before = b""
        is_other = part == "key" and format_.has_several
        name = f"{'key-' if is_other else ''}registry-{format_.title}"
        self.serde: Serde[Any] = Serde(
            name,
            self.encode,
            self.decode,
            self,
            format_.type,
            faithful=format_.faithful,
            cuts=format_.cuts,
        )

    def bound(self, topic: str, part: Part) -> Serde[Any]:
        return _Use(self._format, self._registry, topic, part).serde

    def require(self, column: Sequence[bytes | None]) -> None:
        self._registry.require(column)

    def be_ready(self) -> None:
        if self._write is None:
            question = self._question()
            answer = self._registry.get(question)
            self._before = prefix(answer.id)
            self._write = self._format.encoder(answer.schema, is_key=self._part == "key")

    def encode(self, value: Any) -> bytes:
        if self._write is None:
            self.be_ready()
            assert self._write is not None
        return self._write(value, self._before)

    def decode(self, data: bytes) -> Any:
        schema_id = id_of(data)
        read = self._readers.get(schema_id) or self._reader(schema_id)
        return read(data, PREFIX_BYTES)

    def _question(self) -> BySubject:
        registry, own = self._registry, self._format.own_schema(self._registry)
        if own is None and registry.subjects != "topic":
            raise TopologyError(
                f"{self._format.title} is written, but only the registry has its schema: give the "
                'schema, or let subjects be called by topic (subjects="topic")'
            )
        name = "" if own is None else self._format.name(own)
        subject = registry.subject(self._topic, self._part, name)
        if registry.use_latest or own is None:
            return BySubject(subject, None, register=False)
        return BySubject(subject, own, registry.auto_register)

    def _reader(self, schema_id: int) -> Callable[[bytes, int], Any]:
        writer = self._registry.get(ById(schema_id)).schema
        try:
            read = self._format.decoder(writer)
        except TopologyError as error:
            read = _refusing(f"schema {schema_id}, which it was written with: {error}")
        while len(self._readers) >= _MOST_READERS:
            del self._readers[next(iter(self._readers))]
        self._readers[schema_id] = read
        return read


def _refusing(why: str) -> Callable[[bytes, int], Any]:
    def refuse(_data: bytes, _start: int) -> Any:
        raise ValueError(why)

    return refuse
