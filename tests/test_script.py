"""A topology's file run by Python, as `kproc run` runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor import Topology, TopologyError, run

ROOT = Path(__file__).parents[1]
FILE = """
import sys
from processor import Topology, run

topology = Topology("{name}")
topology.stream("{source}", value=str).to("{name}-out", value=str)

if __name__ == "__main__":
    print("it begins", flush=True)
    run(topology, *sys.argv[1:])
"""


def python(folder: Path, *arguments: str, kafka: str = "127.0.0.1:1") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "KPROC_BOOTSTRAP": kafka, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.kafka
def test_it_runs_as_a_command_does_and_its_workers_do_not_start_it_again(
    kafka: str, topic_name: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    source = make_topic(partitions=2)
    producer = Producer({"bootstrap.servers": kafka})
    for number in range(10):
        producer.produce(source, f"v{number}", str(number))
    producer.flush()
    (tmp_path / "flow.py").write_text(FILE.format(name=topic_name, source=source))
    options = ("--until-end", "--create-topics", "--log-format", "json")
    code, out, err = python(tmp_path, "flow.py", *options, kafka=kafka)
    assert code == 0, err
    assert out.count("it begins") == 1
    assert out.count(" · 10 keys") == 1
    assert '"done": 10, "of": 10' in err


@pytest.mark.parametrize("arguments", [("shop/flow.py",), ("-m", "shop.flow")])
def test_the_exit_code_and_the_error_are_those_of_the_command(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/flow.py").write_text(FILE.format(name="flow", source="orders"))
    code, _, err = python(tmp_path, *arguments, "--until-end", "--dev", "--bootstrap", "here:1")
    assert (code, err.splitlines()) == (
        2,
        ["kproc: --dev brings its own Kafka: leave out --bootstrap, or --dev."],
    )


def test_a_call_that_each_worker_would_do_as_well_is_refused(tmp_path: Path) -> None:
    text = FILE.format(name="flow", source="orders").replace('__name__ == "__main__"', "True")
    (tmp_path / "flow.py").write_text(text)
    for command in (["flow.py"], ["-m", "processor.cli", "run", "flow.py"]):
        code, _, err = python(tmp_path, *command)
        assert code == 2
        assert err.splitlines()[-1] == (
            "kproc: flow.py:10: run() is called while the file is loaded, which each worker does: "
            'put it under `if __name__ == "__main__":`'
        )


def test_a_topology_that_no_file_has_is_refused() -> None:
    with pytest.raises(TopologyError, match="workers load made-here from its file"):
        run(Topology("made-here"))


def test_the_file_is_that_in_which_the_topology_was_made(tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FILE.format(name="flow", source="orders"))
    main = "from flow import topology as ours\nfrom processor.script import _place\n"
    (tmp_path / "main.py").write_text(f"{main}print(_place(ours))\n")
    assert python(tmp_path, "main.py")[1] == "flow.py:topology\n"
