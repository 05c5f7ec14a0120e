"""The examples of docs/guides/process.md do what the page says."""

from typing import Any

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/guides/process.md"


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    exec("\n".join(block.text for block in blocks(PAGE, "python")), found)
    driver = found["driver"]
    driver.pipe("temperatures", key="cellar", value=12.0, timestamp=75_000)
    driver.pipe("temperatures", key="cellar", value=None, timestamp=76_000)
    assert driver.read("silences") == [("cellar", "is back")]
    assert driver.bad_records == {}
