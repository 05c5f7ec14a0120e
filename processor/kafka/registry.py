"""The client of a schema registry: answers what serdes ask, checks and registers schemas.

Owns how the registry is asked and what its refusals mean. Where it does not answer, that is
reported, and whoever needs it tries again later; it never makes a record a bad one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from processor.errors import (
    PermissionDenied,
    RegistryUnreachable,
    SchemaRefused,
    SettingsError,
    UsageError,
)
from processor.redaction import secrets, shown, without
from processor.serdes import SchemasMissing, Serde
from processor.serdes.registry import (
    Answer,
    ById,
    BySubject,
    Question,
    Reference,
    SchemaText,
)
from processor.topology.graph import Sink
from processor.topology.plan import Plan
from processor.wording import adding

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

R = TypeVar("R")

_DEFAULTS: Final = {"timeout": 4, "max.retries": 3, "retries.wait.ms": 100}
"""Together less than the time after which a worker that reports nothing counts as hung."""

_NUMBERS: Final = ("timeout", "max.retries", "retries.wait.ms", "retries.max.wait.ms")
_MOST_REFERENCES: Final = 100
_NO_SUCH_SCHEMA: Final = 40403
_NOT_FOUND, _CONFLICT, _INVALID = 404, 409, (400, 422)
_LARGEST_ID = 2**31 - 1
_DENIED: Final = (401, 403)


class Registry:
    """A schema registry; it is connected to when it is first asked.

    Args:
        config: The settings `schema_registry`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self._client: SchemaRegistryClient | None = None

    def answer(self, missing: SchemasMissing) -> None:
        """Answers what a serde asks.

        Raises:
            RegistryUnreachable: It does not answer.
            SchemaRefused: It does not have a schema that is to be written, or does not take it.
            KprocError: It can't be asked as the settings are.
        """
        missing.registry.answer({each: self._answer(each) for each in missing.questions})

    def resolve(self, function: Callable[[], R]) -> R:
        """What the function gives when everything that it asks for is answered.

        Raises:
            KprocError: As `answer`.
        """
        while True:
            try:
                return function()
            except SchemasMissing as missing:
                self.answer(missing)

    def asking(self, serde: Serde[Any]) -> Serde[Any]:
        """The serde for where nobody else answers: it waits for what it asks."""
        if serde.registered is None:
            return serde

        def encode(value: Any) -> bytes:
            return self.resolve(partial(serde.encode, value))

        def decode(data: bytes) -> Any:
            return self.resolve(partial(serde.decode, data))

        return replace(serde, encode=encode, decode=decode)

    def register(self, subject: str, schema: SchemaText) -> Answer:
        """Registers a schema, or finds it there.

        Raises:
            SchemaRefused: It is not compatible with the subject's others.
        """
        made = self._call(
            lambda client: client.register_schema_full_response(subject, _to_client(schema)),
            f"register a schema under {subject}",
        )
        return self._found(subject, schema, made.schema_id)

    def fits(self, subject: str, schema: SchemaText) -> bool:
        """Whether the subject would take the schema, by its own rule of compatibility."""
        try:
            return self._call(
                lambda client: client.test_compatibility(subject, _to_client(schema)),
                f"compare a schema with those of {subject}",
            )
        except _Missing:
            return True

    def rule(self, subject: str) -> str:
        """The subject's compatibility: BACKWARD, FULL, NONE, ...; by default the registry's."""
        doing = f"ask for the compatibility of {subject}"
        try:
            config = self._call(lambda client: client.get_config(subject), doing)
        except _Missing:
            config = self._call(lambda client: client.get_config(), doing)
        return str(config.compatibility_level or config.compatibility or "BACKWARD")

    def latest(self, subject: str) -> Answer | None:
        """The subject's latest schema; None: there is no such subject."""
        try:
            found = self._call(
                lambda client: client.get_latest_version(subject), f"ask for the latest {subject}"
            )
        except _Missing:
            return None
        return Answer(found.schema_id or 0, self._text(found.schema), found.version or 0)

    def _answer(self, question: Question) -> Answer | None:
        if isinstance(question, ById):
            return self._by_id(question.id)
        if question.schema is None:
            latest = self.latest(question.subject)
            if latest is None:
                raise SchemaRefused(
                    f"the schema registry has no subject {question.subject}, whose latest schema "
                    f"is to be written with: kproc schema register FILE --subject "
                    f"{question.subject}"
                )
            return latest
        if question.register:
            return self.register(question.subject, question.schema)
        return self._look_up(question)

    def _by_id(self, schema_id: int) -> Answer | None:
        """The schema; None for an id that no registry gave, whatever the data was that has it."""
        if schema_id > _LARGEST_ID:
            return None
        try:
            found = self._call(
                lambda client: client.get_schema(schema_id), f"ask for schema {schema_id}"
            )
            return Answer(schema_id, self._text(found))
        except SchemaRefused:
            return None

    def _look_up(self, question: BySubject) -> Answer:
        subject, schema = question.subject, question.schema
        assert schema is not None
        try:
            return self._found(subject, schema, None)
        except _Missing:
            raise SchemaRefused(
                f"the schema that is to be written is not registered under {subject}: kproc schema "
                f"register FILE --subject {subject}; or let that be done at the start with "
                "SchemaRegistry(auto_register=True), or write with the latest schema that is there "
                "with use_latest=True"
            ) from None

    def _found(self, subject: str, schema: SchemaText, schema_id: int | None) -> Answer:
        found = self._call(
            lambda client: client.lookup_schema(subject, _to_client(schema)),
            f"look a schema up under {subject}",
        )
        return Answer(schema_id or found.schema_id or 0, schema, found.version or 0)

    def _text(self, schema: "Schema") -> SchemaText:
        """The schema with the texts of those it uses, each after those that it uses itself."""
        used: dict[tuple[str, int], str] = {}
        self._collect(schema, used)
        kind: Any = schema.schema_type or "AVRO"
        return SchemaText(kind, schema.schema_str or "", _references(schema), tuple(used.values()))

    def _collect(self, schema: "Schema", used: dict[tuple[str, int], str]) -> None:
        for each in _references(schema):
            key = (each.subject, each.version)
            if key in used:
                continue
            if len(used) >= _MOST_REFERENCES:
                raise SchemaRefused(f"a schema uses more than {_MOST_REFERENCES} others")
            used[key] = ""
            found = self._call(
                lambda client, key=key: client.get_version(*key), f"ask for version {key}"
            )
            self._collect(found.schema, used)
            del used[key]
            used[key] = found.schema.schema_str or ""

    def _call(self, ask: "Callable[[SchemaRegistryClient], R]", doing: str) -> R:
        if self._client is None:
            self._client = _connect(self._config)
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

        try:
            return ask(self._client)
        except SchemaRegistryError as error:
            raise self._refusal(error, doing) from error
        except Exception as error:  # noqa: BLE001 - httpx is not imported where there is no extra
            # Whatever fails below, of HTTP, TLS or tokens: the registry has said nothing.
            text = without(_secrets(self._config), f"{type(error).__name__}: {error}")
            url = shown("url", str(self._config["url"]))
            raise RegistryUnreachable(
                f"the schema registry at {url} does not answer, to {doing}: {text}. It is asked "
                "again; no record is lost or taken for a bad one meanwhile"
            ) from None

    def _refusal(self, error: Any, doing: str) -> Exception:
        status, text = error.http_status_code, f"{error.error_message}"[:2000]
        if status == _NOT_FOUND:
            return _Missing(f"the schema registry can't {doing}: {text}")
        if status == _CONFLICT:
            return SchemaRefused(
                f"the schema registry can't {doing}: it is not compatible with a schema that is "
                f"there: {text}. Give new fields defaults, and don't change the types of old ones; "
                "`kproc schema check` compares before anything is registered"
            )
        if status in _DENIED:
            return PermissionDenied(
                f"the schema registry forbids to {doing} ({status}: {text}): set "
                "schema_registry.basic.auth.user.info to USER:PASSWORD, and the user's rights"
            )
        if status in _INVALID:
            return SchemaRefused(f"the schema registry can't {doing}: {text}")
        return RegistryUnreachable(f"the schema registry fails to {doing} ({status}: {text})")


class _Missing(SchemaRefused):
    """The registry has no such subject, version or schema."""


def prepare(plan: Plan, registry: Registry, on_failure: Callable[[str], None]) -> None:
    """Finds the schemas that the plan's sinks write with, so that no record has to wait for them.

    Args:
        plan: The plan.
        registry: Where they are.
        on_failure: Called if it does not answer; it will be asked again when there is a record.

    Raises:
        SchemaRefused: A schema can't be written with.
    """
    nodes = (node for part in plan.subtopologies for node in part.nodes)
    serdes = (serde for node in nodes if isinstance(node, Sink) for serde in (node.key, node.value))
    for serde in serdes:
        if serde.registered is not None:
            try:
                registry.resolve(serde.registered.be_ready)
            except RegistryUnreachable as error:
                on_failure(str(error))


def _connect(config: Mapping[str, Any]) -> "SchemaRegistryClient":
    if not config.get("url"):
        raise SettingsError(
            "a schema registry is needed: set schema_registry.url, such as with "
            "--set schema_registry.url=http://localhost:8081"
        )
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            f"a schema registry needs a client that is not installed ({error}): {adding('schemas')}"
        ) from error
    given = {name: _typed(name, value) for name, value in config.items()}
    try:
        return SchemaRegistryClient({**_DEFAULTS, **given})
    except (ValueError, TypeError, OSError) as error:
        text = without(_secrets(config), str(error))
        raise SettingsError(f"the settings schema_registry are wrong: {text}") from None


def _typed(name: str, value: Any) -> Any:
    """A number as such: variables and the command line have texts only."""
    if name not in _NUMBERS or not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        raise SettingsError(f"schema_registry.{name} is a number, not {value!r}") from None


def _secrets(config: Mapping[str, Any]) -> list[str]:
    return [secret for name, value in config.items() for secret in secrets(name, value)]


def _references(schema: "Schema") -> tuple[Reference, ...]:
    return tuple(
        Reference(each.name or "", each.subject or "", each.version or 0)
        for each in schema.references or ()
    )


def _to_client(schema: SchemaText) -> "Schema":
    from confluent_kafka.schema_registry import Schema, SchemaReference  # noqa: PLC0415

    references = [SchemaReference(*each) for each in schema.references]
    return Schema(schema.text, schema.kind, references)
