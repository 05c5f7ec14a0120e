"""Settings of `kproc run`: defaults < topology < kproc.toml < KPROC_* < command line; then frozen.

Knows what is allowed, not what it leads to. Secrets are never shown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from processor import redaction
from processor.addresses import parse_address
from processor.durations import POLL_INTERVAL, milliseconds
from processor.errors import SettingsError, UsageError
from processor.layers import CLIENTS, FILE, KAFKA, PREFIX, flat, from_environment, from_file
from processor.options import ClientOptions, SnapshotOptions, StateOptions, WorkerOptions
from processor.records import Policy

_SECURITY: Final = ("security.", "sasl.", "ssl.")
_OWNED: Final = {
    "group.id": "it is the application's name",
    "group.instance.id": "it is the slot's name",
    "transactional.id": "it is the slot's name",
    "enable.auto.commit": "offsets are committed by checkpoints",
    "enable.auto.offset.store": "offsets are committed by checkpoints",
    "isolation.level": "exactly-once needs read_committed",
    "partition.assignment.strategy": "slots need range",
    "group.protocol": "slots need the classic protocol",
    "auto.offset.reset": 'use the setting start_from = "earliest" or "latest"',
    "bootstrap.servers": "use the setting bootstrap",
    "acks": "what a checkpoint commits has to be on all replicas in sync",
    "request.required.acks": "what a checkpoint commits has to be on all replicas in sync",
    "enable.partition.eof": "the end of a topic is found by it",
}

_BROKER: Final = re.compile(
    r"((PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)://)?([\w.-]+|\[[\da-f:.]+\])(:(?P<port>\d{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
"""As librdkafka takes it: a port is 9092 by default."""
_LAST_PORT: Final = 65535


_TOKEN: Final = re.compile(r"[!-~]{16,}")


class Settings(BaseSettings):
    """All settings. Durations are written "250ms", "10s", "5m", or timedeltas; sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    bootstrap: str = Field("127.0.0.1:9092", description="Addresses of Kafka brokers, host:port.")
    slots: int = Field(
        2,
        ge=1,
        le=1000,
        description="Worker processes, each with its share of the partitions, of an application "
        "that is new; later `kproc rescale` changes their number.",
    )
    guarantee: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once", description="Whether each input record counts exactly once."
    )
    checkpoint_interval: str = Field(
        "100ms",
        description="Time between two checkpoints, at least; at most a third of "
        "transaction_timeout.",
    )
    persist_interval: str = Field(
        "1s", description="Time between two writes of committed state to RocksDB, at least."
    )
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="Where to begin in an input topic never read before."
    )
    on_bad_record: Policy = Field(
        "dead-letter", description="What happens to a record that can't be processed."
    )
    max_task_idle: str = Field(
        "0s",
        description="Records of several inputs are worked on in the order of their timestamps: how "
        "long to wait for more of an input that is at its end; empty: they are taken as they come.",
    )
    max_lead: int = Field(
        100_000,
        ge=0,
        description="Records by which a task may be ahead of the slowest that writes for the same "
        "tasks downstream, where records wait for it; 0: any number.",
    )
    max_time_ahead: str = Field(
        "1h",
        description="How far ahead of the clock a record may be and still have stream time go on "
        "to its own; one from further ahead moves it no further than that, and is named in the "
        "log; empty: any distance.",
    )
    max_upstream_wait: str = Field(
        "",
        description="How long the time of a task waits for one upstream that is behind and says "
        "nothing; what that sends later may be late; empty: as long as need be.",
    )
    idle_timeout: str = Field(
        "",
        description="Time without input after which windows close as if it went on; empty: never.",
    )
    backup_mode: Literal["none", "restart", "primary-backup"] = Field(
        "restart",
        description="What happens to a worker that crashes: the node ends, a new start, or backups "
        "on other nodes take over.",
    )
    backups: int = Field(
        1, ge=1, le=10, description="Backups of each slot, on as many other nodes; primary-backup."
    )
    failover_timeout: str = Field(
        "1s", description="Silence after which a node counts as dead; equal on all nodes."
    )
    heartbeat_interval: str = Field("100ms", description="Time between a node's heartbeats.")
    node_zone: str = Field("", description="Where the node is; backups prefer other zones.")
    node_weight: float = Field(
        1.0, gt=0, le=1000, description="The node's share of the slots, compared with others."
    )
    create_topics: bool = Field(
        default=False, description="Create input and output topics that are missing."
    )
    partitions: int = Field(4, ge=1, description="Of topics created because of create_topics.")
    replication_factor: int = Field(
        -1, ge=-1, description="Of topics created here; -1: as the brokers' default."
    )
    state_dir: Path = Field(Path(".kproc/state"), description="Folder for RocksDB.")
    state_store: Literal["rocksdb", "memory"] = Field(
        "rocksdb", description="Where state is kept besides its changelog."
    )
    cache_bytes: int = Field(64 * 2**20, ge=0, description="Cache before RocksDB, for each worker.")
    uncommitted_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Uncommitted state that brings a checkpoint forward."
    )
    block_cache_bytes: int = Field(
        64 * 2**20, ge=2**20, description="RocksDB's block cache, for each worker."
    )
    write_buffer_bytes: int = Field(
        64 * 2**20, ge=2**20, description="RocksDB's memtables, for each worker."
    )
    fetch_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Fetched records waiting, for each worker."
    )
    send_bytes: int = Field(
        64 * 2**20, ge=2**20, description="Produced records waiting, for each worker."
    )
    max_batch: int = Field(
        20_000,
        ge=1,
        description="Records worked on at once, at most; fewer if they take longer than 0.1 s.",
    )
    native: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether whole batches go to and from Kafka's client at once, by kproc's "
        "extension in C: auto: where it is built; on: else nothing starts; off: record by record.",
    )
    max_record_bytes: int = Field(
        1_000_000, ge=1000, description="Larger records can't be sent and are bad records."
    )
    flush_interval: str = Field(
        "30s", description="Time after which state in memory is written to disk at the latest."
    )
    snapshot_interval: str = Field(
        "", description="Time between two snapshots of each store in object storage; empty: none."
    )
    snapshot_url: str = Field(
        "", description="Where snapshots go: a folder, or s3://, gs:// or az:// with its prefix."
    )
    snapshots_kept: int = Field(3, ge=1, le=1000, description="Snapshots of each store to keep.")
    session_timeout: str = Field(
        "10s", description="Time after which the group gives a dead slot's partitions away."
    )
    transaction_timeout: str = Field(
        "60s",
        description="Time after which the broker aborts a dead worker's transaction; no longer "
        "than the brokers' transaction.max.timeout.ms.",
    )
    stuck_after: str = Field(
        "60s",
        description="Time after which a worker counts as stuck whose loop does not turn and goes "
        "on to no other record; empty: never.",
    )
    on_stuck: Literal["restart", "report"] = Field(
        "restart",
        description="What happens to a worker that is stuck in a function of the topology: it is "
        "ended as if it had crashed, or the node only says so.",
    )
    startup_timeout: str = Field("30s", description="Time to wait for a broker at the start.")
    drain_timeout: str = Field(
        "5s",
        description="Time that a node which is stopped works on, so that others can warm up first.",
    )
    shutdown_timeout: str = Field(
        "30s",
        description="Time workers have to finish when stopped; longer than any call of a function.",
    )
    http: str = Field(
        "",
        description="Where the page, health checks and metrics are served, such as 0.0.0.0:8080, "
        "or :8080 for this machine alone; nowhere if empty. Other machines see health alone, "
        "unless http_token or http_client_ca says who may see more.",
    )
    http_token: str = Field(
        "",
        description="Whoever gives it may see the page and metrics, from other machines too: as a "
        "bearer token, or as the password that a browser asks for. At least 16 characters.",
    )
    http_certificate: str = Field(
        "", description="File of the certificate (PEM) with which http is served by TLS."
    )
    http_key: str = Field("", description="File of that certificate's key (PEM).")
    http_client_ca: str = Field(
        "",
        description="File of the authorities (PEM) by whose client certificates one may see the "
        "page and metrics.",
    )
    http_advertised: str = Field(
        "",
        description="Where other nodes reach http, host:port, to pass queries on; by default the "
        "address in http, or where that is everywhere, the one from which brokers are reached.",
    )
    http_ca: str = Field(
        "",
        description="File of the authorities (PEM) that sign the certificates of other nodes; by "
        "default http_client_ca, or the system's.",
    )
    kafka: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for all clients."
    )
    consumer: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for consumers."
    )
    producer: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for producers."
    )
    schema_registry: dict[str, Any] = Field(
        default_factory=dict,
        description="The schema registry's url, and any setting of its client, such as "
        "basic.auth.user.info or ssl.ca.location.",
    )

    @field_validator(
        "checkpoint_interval",
        "failover_timeout",
        "heartbeat_interval",
        "persist_interval",
        "flush_interval",
        "session_timeout",
        "transaction_timeout",
        "startup_timeout",
        "drain_timeout",
        "shutdown_timeout",
    )
    @classmethod
    def _is_duration(cls, duration: str) -> str:
        _milliseconds(duration)
        return duration

    @field_validator("bootstrap")
    @classmethod
    def _is_bootstrap(cls, bootstrap: str) -> str:
        for each in bootstrap.split(","):
            found = _BROKER.fullmatch(each.strip())
            if not found:
                kind = "it is a URL" if "://" in each else "it is no address of a broker"
                raise ValueError(
                    f"{kind}: write host:port, such as broker:9092, several with commas in between"
                )
            if not 0 < int(found["port"] or 1) <= _LAST_PORT:
                raise ValueError(f"{found['port']} is no port: there are 1 to {_LAST_PORT}")
        return bootstrap

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, given: object) -> object:
        if not isinstance(given, timedelta):
            return given
        return f"{round(given / timedelta(milliseconds=1))}ms" if given else "0s"

    @field_validator("http", "http_advertised")
    @classmethod
    def _is_address(cls, address: str) -> str:
        try:
            return str(parse_address(address)) if address else ""
        except UsageError as error:
            raise ValueError(str(error)) from None

    @field_validator("http_token")
    @classmethod
    def _is_hard_to_guess(cls, token: str) -> str:
        if token and not _TOKEN.fullmatch(token):
            raise ValueError(
                "it takes at least 16 characters, and no spaces or letters beyond ASCII: make one "
                "by `openssl rand -hex 32`"
            )
        return token

    @field_validator("max_task_idle")
    @classmethod
    def _is_wait(cls, wait: str) -> str:
        if wait.strip():
            _milliseconds(wait, least=0)
        return wait.strip()

    @field_validator(
        "snapshot_interval", "idle_timeout", "max_upstream_wait", "max_time_ahead", "stuck_after"
    )
    @classmethod
    def _is_interval(cls, interval: str) -> str:
        return "" if interval.strip() in ("", "0", "0s") else cls._is_duration(interval)

    @model_validator(mode="after")
    def _has_snapshots_whole(self) -> "Settings":
        url = urlsplit(self.snapshot_url)
        if bool(self.snapshot_interval) != bool(self.snapshot_url):
            raise ValueError(
                "snapshot_interval, such as 5m, and snapshot_url need each other: set both or none"
            )
        if self.snapshot_url and self.state_store == "memory":
            raise ValueError('snapshots need state_store = "rocksdb"; or set no snapshot_url')
        if url.password or url.query:
            raise ValueError(
                "snapshot_url must not hold credentials: set variables such as AWS_ACCESS_KEY_ID"
            )
        return self

    @model_validator(mode="after")
    def _has_tls_whole(self) -> "Settings":
        if bool(self.http_certificate) != bool(self.http_key):
            raise ValueError("http_certificate and http_key need each other: set both or none")
        if self.http_client_ca and not self.http_certificate:
            raise ValueError(
                "http_client_ca needs TLS: set http_certificate and http_key, too, or http_token "
                "instead"
            )
        return self

    @model_validator(mode="after")
    def _sees_standstill_in_time(self) -> "Settings":
        if not self.stuck_after or "stuck_after" not in self.model_fields_set:
            return self
        given = {**self.kafka, **self.consumer}.get("max.poll.interval.ms", POLL_INTERVAL)
        if str(given).isdecimal() and _milliseconds(self.stuck_after) > int(given):
            raise ValueError(
                f"stuck_after = {self.stuck_after!r} is longer than the {int(given):,} ms after "
                "which the group gives away the partitions of a worker that is at one record: set "
                "consumer.max.poll.interval.ms to at least as long"
            )
        return self

    @model_validator(mode="after")
    def _has_token(self) -> "Settings":
        own = {name: str(value) for name, value in self.kafka.items()}
        mechanism = own.get("sasl.mechanism") or own.get("sasl.mechanisms") or ""
        if mechanism.upper() != "OAUTHBEARER" or own.get("sasl.oauthbearer.method") == "oidc":
            return self
        if own.get("enable.sasl.oauthbearer.unsecure.jwt", "").lower() == "true":
            return self
        raise ValueError(
            f"[kafka] sasl.mechanism = {mechanism!r}, but nothing gives a token: set "
            'sasl.oauthbearer.method = "oidc" with sasl.oauthbearer.client.id, '
            "sasl.oauthbearer.client.secret and sasl.oauthbearer.token.endpoint.url"
        )

    @model_validator(mode="after")
    def _leaves_owned_alone(self) -> "Settings":
        for part in (self.kafka, self.consumer, self.producer):
            for name in part:
                if name in _OWNED:
                    raise ValueError(f"{name} can't be set: {_OWNED[name]}")
        return self

    @property
    def options(self) -> WorkerOptions:
        """What the core of a worker goes by; a transaction ends well before it is timed out."""
        checkpoint = self._time("checkpoint_interval")
        if self.guarantee == "exactly-once":
            checkpoint = min(checkpoint, max(1, self._time("transaction_timeout") // 3))
        return WorkerOptions(
            guarantee=self.guarantee,
            checkpoint_interval=checkpoint,
            persist_interval=self._time("persist_interval"),
            cache_bytes=self.cache_bytes,
            uncommitted_bytes=self.uncommitted_bytes,
            max_record_bytes=self.max_record_bytes,
            on_bad_record=self.on_bad_record,
            max_task_idle=self._time("max_task_idle") if self.max_task_idle else None,
            max_time_ahead=self._time("max_time_ahead"),
            max_lead=self.max_lead,
            max_upstream_wait=self._time("max_upstream_wait"),
            follows_progress=bool(self.max_task_idle),
            idle_timeout=self._time("idle_timeout"),
        )

    @property
    def clients(self) -> ClientOptions:
        """What clients are made with; `kafka` is for each of them."""
        return ClientOptions(
            kafka={"client.id": "kproc", **self.kafka, "bootstrap.servers": self.bootstrap},
            consumer=self.consumer,
            producer=self.producer,
            schema_registry=self.schema_registry,
            fetch_bytes=self.fetch_bytes,
            send_bytes=self.send_bytes,
            session_timeout=self._time("session_timeout"),
            transaction_timeout=self._time("transaction_timeout"),
        )

    @property
    def state(self) -> StateOptions:
        """Where state is kept."""
        return StateOptions(
            folder=str(self.state_dir.absolute()),
            store=self.state_store,
            block_cache_bytes=self.block_cache_bytes,
            write_buffer_bytes=self.write_buffer_bytes,
            flush_interval=self._time("flush_interval"),
        )

    @property
    def snapshots(self) -> SnapshotOptions | None:
        """Where snapshots go; None: there are none."""
        if not self.snapshot_url:
            return None
        interval = self._time("snapshot_interval")
        return SnapshotOptions(url=self.snapshot_url, interval=interval, kept=self.snapshots_kept)

    @property
    def stuck_milliseconds(self) -> int:
        """Milliseconds after which a loop that does not turn is stuck; 0: never."""
        return self._time("stuck_after")

    def _time(self, name: str) -> int:
        """Milliseconds of a duration; 0 where it is empty, which means never or any."""
        text = getattr(self, name)
        return milliseconds(text, name, least=0) if text else 0

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but what is given: `load` puts the sources together, so as to distinguish them."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def __repr_args__(self) -> Iterable[tuple[str, Any]]:
        return shown(self).items()


class Effective(NamedTuple):
    """The effective settings, and where each that is no default comes from.

    A librdkafka setting is called `kafka.security.protocol` in `origins`.
    """

    settings: Settings
    origins: Mapping[str, str]


def load(
    flags: Mapping[str, Any] | None = None,
    topology: Mapping[str, Any] | None = None,
    file: Path | None = None,
    dev: Mapping[str, Any] | None = None,
) -> Effective:
    """The effective settings.

    Args:
        flags: From the command line; None means not given.
        topology: A topology's own defaults.
        file: A file instead of ./kproc.toml; it has to be there.
        dev: Where the Kafka of `kproc dev` listens, if one runs: what nobody sets otherwise.

    Raises:
        SettingsError: A setting is unknown or malformed; the text names it and where it is from.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    layers: dict[str, Mapping[str, Any]] = {
        "kproc dev": dev or {},
        "topology": topology or {},
        str(file or FILE): from_file(file),
        "environment": from_environment(Settings),
        "command line": given,
    }
    return _effective(layers)


def of_topology(given: Mapping[str, Any]) -> Settings:
    """The settings of a topology alone, whatever a file and the environment say.

    Raises:
        SettingsError: As `load`.
    """
    return _effective({"topology": given}).settings


def _effective(layers: Mapping[str, Mapping[str, Any]]) -> Effective:
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers.items():
        for name, value in values.items():
            origins[name] = origin
            if name in CLIENTS and isinstance(value, Mapping):
                entries = dict(flat(cast("Mapping[str, Any]", value)))
                merged[name] = {**merged.get(name, {}), **entries}
                origins |= {f"{name}.{entry}": origin for entry in entries}
            else:
                merged[name] = value
    try:
        return Effective(Settings(**merged), origins)
    except ValidationError as error:
        raise SettingsError(_explained(error, origins)) from None


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as they may be shown: secrets of librdkafka and in URLs are hidden."""
    values = settings.model_dump(mode="json")
    for part in CLIENTS:
        values[part] = {name: redaction.shown(name, it) for name, it in values[part].items()}
    return {name: redaction.shown(name, value) for name, value in values.items()}


class Listed(NamedTuple):
    """One setting as it is shown; `part` is the table that a librdkafka setting stands in.

    A table's own line has no name, and neither value nor origin.
    """

    part: str
    name: str
    value: Any
    origin: str
    description: str


def listed(effective: Effective) -> Iterator[Listed]:
    """All settings as they may be shown, with where each is from and what it means."""
    origins = effective.origins
    for name, value in shown(effective.settings).items():
        description = Settings.model_fields[name].description or ""
        if name in CLIENTS:
            yield Listed(name, "", None, "", description)
            for entry, its in value.items():
                yield Listed(name, entry, its, origins.get(f"{name}.{entry}", "default"), "")
        else:
            yield Listed("", name, value, origins.get(name, "default"), description)


def unsecured(settings: Settings, bootstrap: str) -> Settings:
    """The settings for an embedded Kafka, which has no security, and no topics at first."""
    changed: dict[str, Any] = {"bootstrap": bootstrap, "create_topics": True}
    for part in KAFKA:
        values = getattr(settings, part).items()
        changed[part] = {name: value for name, value in values if not name.startswith(_SECURITY)}
    return settings.model_copy(update=changed)


def developing(effective: Effective, bootstrap: str) -> Effective:
    """The settings for an embedded Kafka; http on a free port of this machine, unless it is set."""
    settings = unsecured(effective.settings, bootstrap)
    changed: dict[str, str] = dict.fromkeys(("bootstrap", "create_topics"), "--dev")
    if "http" not in effective.origins:
        settings = settings.model_copy(update={"http": "127.0.0.1:0"})
        changed["http"] = "--dev"
    return Effective(settings, {**effective.origins, **changed})


def redacted(settings: Settings, text: str) -> str:
    """A text without the settings' secrets."""
    return redaction.without(_secrets(settings), text)


def _secrets(settings: Settings) -> Iterator[str]:
    yield from redaction.secrets("http_token", settings.http_token)
    for part in CLIENTS:
        for name, value in getattr(settings, part).items():
            yield from redaction.secrets(name, value)


def _milliseconds(duration: str, least: int = 1) -> int:
    try:
        return milliseconds(duration, "duration", least=least)
    except UsageError as error:
        raise ValueError(str(error)) from None


def _explained(error: ValidationError, origins: Mapping[str, str]) -> str:
    """What is wrong with each setting, where it is from, and what it may have been meant to be."""
    lines: list[str] = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(map(str, problem["loc"])) or "settings"
        origin = origins.get(str(problem["loc"][0]) if problem["loc"] else "", "")
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            close = get_close_matches(name, Settings.model_fields)
            text = f"no such setting{f'; did you mean {close[0]}?' if close else ''}"
        lines.append(f"{name}{f' ({origin})' if origin else ''}: {text}")
    return "\n".join([*lines, "`kproc config` shows all settings and what they mean"])
