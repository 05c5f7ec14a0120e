"""The types that pyright infers for streams and tables, and what it refuses."""

import subprocess
import sys
from pathlib import Path


def test_pyright_agrees_with_every_assertion_and_refuses_every_wrong_use() -> None:
    command = [sys.executable, "-m", "pyright", "--project", str(Path(__file__).parent)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
