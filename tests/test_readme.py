"""The README's examples run as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

README = Path("README.md").read_text(encoding="utf-8")


def test_its_topology_passes_its_tests(tmp_path: Path) -> None:
    topology, tests = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "orders.py").write_text(topology)
    (tmp_path / "test_orders.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_orders.py"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240
    )
    assert "2 passed" in done.stdout, done.stdout
