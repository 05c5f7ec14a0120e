"""Settings of `kproc run`: defaults < topology < kproc.toml < KPROC_* < command line; then frozen.

Knows what is allowed, not what it leads to. Secrets are never shown.
"""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from processor.durations import milliseconds
from processor.errors import SettingsError

PREFIX: Final = "KPROC_"
FILE: Final = Path("kproc.toml")
_SECRET_WORDS: Final = ("password", "secret", "token", "key.pem", "jaas", "private", "credentials")
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
    "enable.partition.eof": "the end of a topic is found by it",
}


class Settings(BaseSettings):
    """All settings. Durations are written "250ms", "10s", "5m"; sizes are bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    bootstrap: str = Field("127.0.0.1:9092", description="Addresses of Kafka brokers, host:port.")
    slots: int = Field(
        2, ge=1, le=1000, description="Worker processes; each has its share of the partitions."
    )
    guarantee: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once", description="Whether each input record counts exactly once."
    )
    checkpoint_interval: str = Field("100ms", description="Time between two checkpoints.")
    start_from: Literal["earliest", "latest"] = Field(
        "earliest", description="Where to begin in an input topic never read before."
    )
    on_bad_record: Literal["fail", "skip", "dead-letter"] = Field(
        "dead-letter", description="What becomes of a record that can't be processed."
    )
    backup_mode: Literal["none", "restart"] = Field(
        "restart", description="What becomes of a worker that crashes: nothing, or a new start."
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
    max_batch: int = Field(20_000, ge=1, description="Records worked on at once, at most.")
    max_record_bytes: int = Field(
        1_000_000, ge=1000, description="Larger records can't be sent and are bad records."
    )
    flush_interval: str = Field(
        "30s", description="Time after which state in memory is written to disk at the latest."
    )
    session_timeout: str = Field(
        "10s", description="Time after which the group gives a dead slot's partitions away."
    )
    transaction_timeout: str = Field(
        "60s", description="Time after which the broker aborts a dead worker's transaction."
    )
    startup_timeout: str = Field("30s", description="Time to wait for a broker at the start.")
    shutdown_timeout: str = Field("30s", description="Time workers have to finish when stopped.")
    kafka: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for all clients."
    )
    consumer: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for consumers."
    )
    producer: dict[str, Any] = Field(
        default_factory=dict, description="Any librdkafka setting, for producers."
    )

    @field_validator(
        "checkpoint_interval",
        "flush_interval",
        "session_timeout",
        "transaction_timeout",
        "startup_timeout",
        "shutdown_timeout",
    )
    @classmethod
    def _is_duration(cls, duration: str) -> str:
        milliseconds(duration, "a duration")
        return duration

    @model_validator(mode="after")
    def _leaves_owned_alone(self) -> "Settings":
        for part in (self.kafka, self.consumer, self.producer):
            for name in part:
                if name in _OWNED:
                    raise ValueError(f"{name} can't be set: {_OWNED[name]}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """None but what is given: `load` puts the sources together, so as to tell them apart."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


class Effective(NamedTuple):
    """The effective settings, and where each that is no default comes from."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    flags: Mapping[str, Any] | None = None,
    topology: Mapping[str, Any] | None = None,
    file: Path | None = None,
) -> Effective:
    """The effective settings.

    Args:
        flags: From the command line; None means not given.
        topology: A topology's own defaults.
        file: A file instead of ./kproc.toml; it has to be there.

    Raises:
        SettingsError: A setting is unknown or malformed; the text names it and where it is from.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    layers: dict[str, Mapping[str, Any]] = {
        "topology": topology or {},
        str(file or FILE): _read(file),
        "environment": EnvSettingsSource(Settings)(),
        "command line": given,
    }
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers.items():
        for name, value in values.items():
            both = isinstance(value, dict) and isinstance(merged.get(name), dict)
            merged[name] = {**merged[name], **value} if both else value
            origins[name] = origin
    try:
        return Effective(Settings(**merged), origins)
    except ValidationError as error:
        raise SettingsError(_explained(error, origins)) from None


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as they may be shown: secret librdkafka settings are hidden."""
    values = settings.model_dump(mode="json")
    for part in ("kafka", "consumer", "producer"):
        values[part] = {name: _shown(name, value) for name, value in values[part].items()}
    return values


def _shown(name: str, value: Any) -> Any:
    return "********" if any(word in name.lower() for word in _SECRET_WORDS) else value


def _read(file: Path | None) -> Mapping[str, Any]:
    path = file or FILE
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise SettingsError(f"there is no file {path}") from None
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from None


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
