"""What is true of each test here."""

from collections.abc import Generator

import pytest

from tests.crashes import application


@pytest.fixture(autouse=True)
def no_worker_goes_on() -> Generator[None]:
    """Ends the workers of a test that failed: one would take a core from all that come later."""
    yield
    while application.RUNNING:
        process = application.RUNNING.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
