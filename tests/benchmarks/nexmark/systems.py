"""The systems that the queries run on: how each is made ready and started. Nothing of measuring.

A system is started with a query, and works on its input from the beginning until it is stopped.
"""

import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tests.benchmarks.nexmark.inputs import PREFIX

KPROC, KAFKA_STREAMS = "kproc", "kafka-streams"
QUERIES = (*range(9), 11, 12, 13)

_MAIN = "import sys; from processor.cli.main import main; sys.exit(main())"
_JAVA = Path(__file__).parent / "kafka_streams"


class Job(NamedTuple):
    """What is to be run; the run's name is put before those of the application and its topics."""

    kafka: str
    number: int
    run: str
    slots: int
    sets: tuple[str, ...] = ()

    @property
    def application(self) -> str:
        """The consumer group, and the beginning of the names of all internal topics."""
        return f"{self.run}-q{self.number}"


def kproc(job: Job, folder: str) -> list[str]:
    spec = f"tests.benchmarks.nexmark.queries:q{job.number}"
    options = (f"--bootstrap={job.kafka}", f"--state-dir={folder}", f"--slots={job.slots}")
    sets = (f"--set={each}" for each in job.sets)
    return [sys.executable, "-c", _MAIN, "run", spec, *options, *sets]


def kafka_streams(job: Job, folder: str) -> list[str]:
    """With what makes one slot a thread; needs a Java runtime, 17 or newer."""
    options = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    classes = ["-cp", f"{_JAVA / 'target' / 'classes'}:{_JAVA / 'target' / 'lib' / '*'}"]
    given = [job.kafka, PREFIX, job.run, str(job.number), str(job.slots), folder]
    return ["java", *options, *classes, "nexmark.Nexmark", *given]


def build_kafka_streams() -> None:
    """Compiles the queries in Java, and fetches what they need; takes a JDK 17 and Maven."""
    command = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies"]
    subprocess.run(command, cwd=_JAVA, check=True, stdout=sys.stderr)


class System(NamedTuple):
    """How it is started with a job and a folder for its state, and what it can do."""

    command: Callable[[Job, str], list[str]]
    queries: tuple[int, ...]


SYSTEMS: Final[Mapping[str, System]] = {
    KPROC: System(kproc, QUERIES),
    KAFKA_STREAMS: System(kafka_streams, tuple(each for each in QUERIES if each != 6)),
}


@contextmanager
def running(command: list[str], env: Mapping[str, str], log: Path) -> Generator[psutil.Popen]:
    """A process for the length of the block; at the end it is asked to finish."""
    with log.open("w") as out:
        process = psutil.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
        process.terminate()
        process.wait(60)
    finally:
        if process.is_running():
            for each in (process, *process.children(recursive=True)):
                each.kill()
            process.wait()
