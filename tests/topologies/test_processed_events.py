"""A hundred events: processed, printed, written."""

import pytest

from processor.testing import TopologyDriver
from topologies.processed_events import events, topology


def test_each_event_is_processed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    driver = TopologyDriver(topology)
    driver.pipe("events", *events())
    expected = [(str(number), f"Processed-Event-{number}") for number in range(100)]
    assert driver.read("processed-events") == expected
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 100
    assert lines[7].endswith("7 → Processed-Event-7")


def test_settings_are_part_of_it() -> None:
    assert topology.settings == {"backup_mode": "primary-backup", "checkpoint_interval": "1000ms"}
