"""The README's example does what it says, in fifteen lines, and its links lead somewhere."""

import re
from typing import Any

from processor.testing import TopologyDriver
from tests.docs.pages import ROOT, blocks

README = ROOT / "README.md"


def test_its_topology() -> None:
    found: dict[str, Any] = {}
    (block,) = blocks(README, "python")
    exec(block.text, found)
    driver, order = TopologyDriver(found["topology"]), found["Order"]
    driver.pipe("orders", key="1", value=order(user="ann", amount=700))
    driver.pipe("orders", key="2", value=order(user="ann", amount=50))
    assert driver.read("big-orders") == [("1", order(user="ann", amount=700))]
    assert driver.read("order-totals") == [("ann", 700), ("ann", 750)]
    assert driver.store("totals") == {"ann": 750}
    driver.pipe_bytes("orders", key=b"1", value=b"nonsense")
    (letter,) = driver.dead_letters()
    assert letter.value == b"nonsense"
    assert len([line for line in block.text.splitlines() if line]) <= 15


def test_the_two_commands() -> None:
    run, test = blocks(README, "sh")
    start = "pip install -q uv && uv run "
    assert run.text == f"{start}kproc run topologies/flights.py --dev --until-end\n"
    assert test.text == f"{start}pytest\n"


def test_links_of_files_outside_of_the_site() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "ARCHITECTURE.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"
