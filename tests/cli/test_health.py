"""`kproc health` as a container runs it."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from processor.addresses import Address
from processor.health.http import Endpoint
from tests import forks


def health(folder: Path, *options: str, http: str = "") -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "KPROC_HTTP": http}
    return forks.run("processor.cli", "health", *options, cwd=folder, env=env)


def test_nothing_says_where(tmp_path: Path) -> None:
    for options in ([], ["--ready"]):
        done = health(tmp_path, *options)
        assert done.returncode == 2
        assert done.stderr.startswith("kproc: nothing says where the node listens")


def test_a_node_that_has_not_begun(tmp_path: Path) -> None:
    with closing(Endpoint(Address("127.0.0.1", 0), "orders")) as endpoint:
        address = str(endpoint.address)
        for done in (health(tmp_path, http=address), health(tmp_path, "--http", address)):
            assert done.returncode == 1
            assert "the node has not begun yet" in done.stderr


def test_a_plain_check_loads_little() -> None:
    """It is run every few seconds in each container."""
    code = (
        "import sys; sys.argv = ['kproc', 'health']\n"
        "from processor.cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print({'pydantic', 'typer', 'rich', 'confluent_kafka'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
