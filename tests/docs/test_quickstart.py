"""The quickstart works, command by command, on a real Kafka; its own Kafka is not started."""

import os
from pathlib import Path

import pytest

from tests import forks
from tests.docs.pages import ROOT, blocks
from tests.docs.test_shell_blocks import commands

pytestmark = pytest.mark.kafka

PAGE = ROOT / "docs/quickstart.md"


def test_its_commands_do_what_the_page_says(kafka: str, tmp_path: Path) -> None:
    for block in blocks(PAGE, "csv", "python"):
        assert block.title
        (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    env = {**os.environ, "KPROC_BOOTSTRAP": kafka, "PYTHONPATH": str(ROOT)}
    said: dict[str, str] = {}
    for arguments in commands(PAGE):
        if arguments[0] == "dev":
            continue
        done = forks.run("processor.cli", *arguments, cwd=tmp_path, env=env)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        said[" ".join(arguments[:2])] = done.stdout + done.stderr
    assert "5 records to purchases" in said["produce purchases.csv"]
    assert '{"purchases":2,"cents":860}' in said["consume spending-by-user"]
    assert '{"purchases":1,"cents":420}' in said["consume spending-by-user"]
    hour = "tea 2026-11-02T09:00:00Z/2026-11-02T10:00:00Z"
    assert hour in said["consume sold-per-hour"]
    assert "coffee 2026-11-02T10:00:00Z/2026-11-02T11:00:00Z" in said["consume sold-per-hour"]
    assert "source-purchases  decode  purchases        1" in said["dlq list"]
    assert '"cents":"oops"' in said["dlq show"]
