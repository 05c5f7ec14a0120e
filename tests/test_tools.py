"""The tests' own tools: what is left is ended, and what is forked runs as if it were started."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from tests import forks

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_what_a_killed_run_has_started_is_ended_and_nothing_else() -> None:
    name = f"MARK_{uuid.uuid4().hex}"
    run = (
        "import subprocess, sys, os, time; from tests import watchdog\n"
        f"os.environ[{name!r}] = 'x'\n"
        f"with watchdog.watched({name + '=x'!r}):\n"
        f"    print(subprocess.Popen({SLEEP!r}, start_new_session=True).pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    other = subprocess.Popen(SLEEP, env={**os.environ, name: "y"})
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        left = psutil.Process(int(killed.stdout.readline()))
        killed.kill()
    left.wait(60)
    assert other.poll() is None
    other.kill()
    other.wait()


def _module(folder: Path, body: str) -> str:
    name = f"forked_{uuid.uuid4().hex}"
    (folder / f"{name}.py").write_text(body)
    return name


def test_what_is_forked_has_what_it_was_given(tmp_path: Path) -> None:
    body = "import os, sys\nprint(sys.argv[1:], os.environ['GIVEN'], __name__)\nsys.exit('wrong')"
    module = _module(tmp_path, body)
    done = forks.run(module, "a", "b", cwd=tmp_path, env={**os.environ, "GIVEN": "this"})
    assert (done.returncode, done.stderr) == (1, "wrong\n")
    assert done.stdout == "['a', 'b'] this __main__\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_its_end_by_a_signal_is_known(tmp_path: Path, number: signal.Signals) -> None:
    module = _module(tmp_path, f"import os\nos.kill(os.getpid(), {int(number)})")
    assert forks.run(module, cwd=tmp_path).returncode == -number


def test_it_runs_until_it_is_killed(tmp_path: Path) -> None:
    module = _module(tmp_path, "import time\ntime.sleep(600)")
    with Path(os.devnull).open("r+") as nothing:
        process = forks.start(module, files=[nothing.fileno()] * 3, cwd=tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait() == process.poll() == -signal.SIGKILL
