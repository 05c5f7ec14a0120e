"""The word count, recomputed in one line."""

from collections import Counter

from processor.testing import TopologyDriver
from topologies import word_count


def test_words_of_a_line() -> None:
    driver = TopologyDriver(word_count.topology)
    driver.pipe("lines", key="a", value="To be, or not to be: that's the question.")
    counts = dict(driver.read("word-counts"))
    assert counts == {"to": 2, "be": 2, "or": 1, "not": 1, "that's": 1, "the": 1, "question": 1}
    driver.pipe("lines", key="a", value="(to)")
    assert driver.read("word-counts") == [("to", 3)]


def test_the_whole_manual() -> None:
    lines = list(word_count.lines())
    driver = TopologyDriver(word_count.topology, partitions=4)
    driver.pipe("lines", *lines)
    text = "\n".join(record.value for record in lines)
    assert dict(driver.read("word-counts")) == Counter(word_count.words(text))
    assert len(lines) > 1000
