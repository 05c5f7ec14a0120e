"""The systems that the queries run on, and how each is started with one."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from tests.benchmarks import systems
from tests.benchmarks.nexmark.inputs import PREFIX
from tests.benchmarks.systems import KAFKA_STREAMS, KPROC

QUERIES = (*range(9), 11, 12, 13)


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
    return systems.kproc(spec, *options, *(f"--set={each}" for each in job.sets))


def kafka_streams(job: Job, folder: str) -> list[str]:
    """With what makes one slot a thread."""
    given = [job.kafka, PREFIX, job.run, str(job.number), str(job.slots), folder]
    return systems.kafka_streams("nexmark.Nexmark", *given)


class System(NamedTuple):
    """How it is started with a job and a folder for its state, and what it can do."""

    command: Callable[[Job, str], list[str]]
    queries: tuple[int, ...]


SYSTEMS: Final[Mapping[str, System]] = {
    KPROC: System(kproc, QUERIES),
    KAFKA_STREAMS: System(kafka_streams, tuple(each for each in QUERIES if each != 6)),
}
