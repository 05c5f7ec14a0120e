"""Commands of kproc in the test's own process: for those that end before anything is started."""

import contextlib
import io
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from processor.cli.main import main


class Done(NamedTuple):
    """How a command ended and what it said, as in `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def kproc(*arguments: str | Path, folder: Path | None = None) -> Done:
    """Runs a command in a folder, by default in this one."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.chdir(folder or Path.cwd())
        patch.setattr(sys, "path", [*sys.path])
        try:
            main([str(each) for each in arguments])
        except SystemExit as end:
            return Done(int(end.code or 0), out.getvalue(), err.getvalue())
    return Done(0, out.getvalue(), err.getvalue())
