"""The page on Kafka Streams' tests says of each how many cases there are and where."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path

from tests.operators.kafka_streams_cases.scenario import Case

PAGE = Path("docs/coming-from/kafka-streams-cases.md").read_text(encoding="utf-8")
FOLDER = Path(__file__).parent
ROW = re.compile(r"^\| `(\w+)` \|.*\| `(\w+)` \| (\d+) \| (\d+)[^|]*\|$", re.MULTILINE)


def test_its_table_is_what_the_cases_are() -> None:
    found: Counter[tuple[str, str, bool]] = Counter()
    for file in FOLDER.glob("test_*.py"):
        cases: list[Case] = getattr(
            import_module(f"tests.operators.kafka_streams_cases.{file.stem}"), "CASES", []
        )
        found.update((case.of.split(".")[0], file.stem, bool(case.differs)) for case in cases)
    said: Counter[tuple[str, str, bool]] = Counter()
    for test, file, same, different in ROW.findall(PAGE):
        said[test, file, False] += int(same)
        said[test, file, True] += int(different)
    assert +said == found


def test_functions_that_it_names_are_there() -> None:
    texts = "".join(file.read_text(encoding="utf-8") for file in FOLDER.glob("test_*.py"))
    for name in (
        "testAggregateLargeInput",
        "testAggregateRandomInput",
        "testShouldForwardCurrentHeaders",
        "shouldImmediatelyEmitEventsWithZeroEmitAfter",
        "TimeWindowsTest",
    ):
        assert name in PAGE
        assert name in texts
