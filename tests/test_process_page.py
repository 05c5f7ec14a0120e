"""The examples of docs/process.md do what the page says."""

import re
from pathlib import Path
from typing import Any

PAGE = Path("docs/process.md").read_text(encoding="utf-8")


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), found)
    driver = found["driver"]
    driver.pipe("temperatures", key="cellar", value=12.0, timestamp=75_000)
    driver.pipe("temperatures", key="cellar", value=None, timestamp=76_000)
    assert driver.read("silences") == [("cellar", "is back")]
    assert driver.bad_records == {}
