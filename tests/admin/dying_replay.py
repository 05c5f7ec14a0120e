"""A replay that kills itself: DIE_AT=produce:N, before-commit:N or after-commit:N."""

import os
import signal
from collections import Counter
from typing import Any

from confluent_kafka import Producer

from processor.admin import dead_letters
from processor.cli.main import main

_COUNTS: Counter[str] = Counter()


class Dying(Producer):
    def produce(self, *arguments: Any, **options: Any) -> None:
        _reach("produce")
        super().produce(*arguments, **options)

    def commit_transaction(self, *arguments: Any) -> None:
        self.flush()
        _reach("before-commit")
        super().commit_transaction(*arguments)
        _reach("after-commit")


def _reach(point: str) -> None:
    _COUNTS[point] += 1
    if os.environ.get("DIE_AT") == f"{point}:{_COUNTS[point]}":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    dead_letters.Producer = Dying
    dead_letters._CHUNK = 10
    main()
