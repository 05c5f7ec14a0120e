"""How often each word occurs in the Python manual, in the text that `help()` shows.

    kproc run topologies/word_count.py --dev --until-end

Its text comes with Python itself, so there is nothing to fetch.
"""

import re
import time
from collections.abc import Iterator
from pydoc_data.topics import topics

from processor import Record, Timestamp, Topology

WORD = re.compile(r"[a-z]+(?:['-][a-z]+)*")


def lines() -> Iterator[Record[str, str]]:
    """The manual's lines, each under the topic of `help()` that it belongs to."""
    now = Timestamp(time.time_ns() // 1_000_000)
    for topic, text in topics.items():
        for line in text.splitlines():
            if line.strip():
                yield Record(topic, line, now)


def words(line: str) -> list[str]:
    """The words of a line, in small letters."""
    return WORD.findall(line.lower())


def itself(word: str) -> str:
    """A word is its own key."""
    return word


topology = Topology("word-count")
topology.sample_data("lines", lines, value=str)
(
    topology.stream("lines", value=str)
    .flat_map_values(words)
    .group_by(itself, name="words")
    .count(name="counts")
    .to("word-counts", key=str, value=int)
)
