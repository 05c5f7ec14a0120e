"""The page in a real browser: it is made of what the documents hold, and of nothing as markup.

Needs Chromium, on the PATH or named by KPROC_CHROMIUM.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator
from contextlib import closing
from html import escape
from pathlib import Path

import pytest

from processor.addresses import Address
from processor.health.http import OPEN, Endpoint
from processor.health.site import Site
from processor.settings import load
from tests.health.test_page import HOSTILE, at_work, made_plan

Dump = Callable[[Endpoint], str]


@pytest.fixture
def dump(tmp_path: Path) -> Dump:
    """The document as the browser has it, some seconds of its own time after it was opened."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = os.environ.get("KPROC_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("needs Chromium, on the PATH or named by KPROC_CHROMIUM")

    def dumped(endpoint: Endpoint) -> str:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=5000", "--dump-dom"]
        command = [browser, *options, endpoint.page]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    return dumped


@pytest.fixture
def endpoint() -> Generator[Endpoint]:
    site = Site(made_plan(), load({"slots": 2}))
    with closing(Endpoint(Address("127.0.0.1", 0), "orders", OPEN, site)) as made:
        yield made


def test_all_of_it_is_shown_as_text(endpoint: Endpoint, dump: Dump) -> None:
    at_work(endpoint)
    page = dump(endpoint)
    assert "<img src=x" not in page
    assert page.count(escape(HOSTILE, quote=False)) >= 4, "problem, table, event, drawing"
    for text in ("unhealthy", "Brokers", "Traceback", "lag 7", "restored", "kproc dlq list"):
        assert text in page
    assert page.count('<g class="slowest">') <= 1
    assert "orders · kproc" in page


def test_before_the_node_has_begun(endpoint: Endpoint, dump: Dump) -> None:
    assert "This node does not answer (the node has not begun yet)." in dump(endpoint)
