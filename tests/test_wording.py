import pytest

from processor.wording import several


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 records"), (1, "1 record"), (2, "2 records"), (1200, "1,200 records")],
)
def test_several(count: int, text: str) -> None:
    assert several(count, "record") == text
