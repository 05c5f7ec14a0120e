"""The systems that benchmarks run, kproc and Kafka Streams: how each is made ready and started.

A system works on its input from the beginning until it is stopped. Nothing of measuring.
"""

import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

KPROC, KAFKA_STREAMS = "kproc", "kafka-streams"

_MAIN = "import sys; from processor.cli.main import main; sys.exit(main())"
_JAVA: Final = Path(__file__).parent / "kafka_streams"


def kproc(target: str, *options: str, python: str = sys.executable) -> list[str]:
    """The command that runs a topology.

    Args:
        target: A file, or module and name.
        options: Of `kproc run`.
        python: The interpreter, which says from which checkout kproc is.
    """
    return [python, "-c", _MAIN, "run", target, *options]


def build_kafka_streams() -> None:
    """Compiles all jobs in Java, and fetches what they need; takes a JDK 17 and Maven."""
    command = ["mvn", "-q", "-B", "compile", "dependency:copy-dependencies"]
    subprocess.run(command, cwd=_JAVA, check=True, stdout=sys.stderr)


def kafka_streams(main: str, *arguments: str, log: str = "warn") -> list[str]:
    """The command that runs a job in Java; needs a Java runtime, 17 or newer.

    Args:
        main: The class.
        arguments: What it is given.
        log: Messages below that level are left out.
    """
    options = ["-Xmx1g", f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log}"]
    classes = ["-cp", f"{_JAVA / 'target' / 'classes'}:{_JAVA / 'target' / 'lib' / '*'}"]
    return ["java", *options, *classes, main, *arguments]


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
