"""The command `kproc`, also as `python -m processor.cli`.

A plain `kproc health` is answered without loading anything else: containers ask every few seconds.
"""

import os
import signal
import sys
from typing import Any

_TERMINATED = 128 + signal.SIGTERM


def main() -> None:
    """Runs the command that the arguments name."""
    if os.getpid() == 1:
        # The first process of a container is ended by no signal that it does not handle.
        signal.signal(signal.SIGTERM, _end)
    if sys.argv[1:] == ["health"]:
        _health()
    else:
        from processor.cli.main import main  # noqa: PLC0415 - see above

        main()


def _end(_number: int, _frame: Any) -> None:
    sys.exit(_TERMINATED)


def _health() -> None:
    from processor.errors import UsageError  # noqa: PLC0415
    from processor.health.probe import ask, configured, serves_tls  # noqa: PLC0415

    try:
        answer = ask(configured(), "healthz", tls=serves_tls())
    except UsageError as error:
        sys.exit(_reported(str(error), UsageError.exit_code))
    if not answer.ok:
        sys.exit(_reported(answer.text, 1))
    sys.stdout.write(f"{answer.text}\n")


def _reported(text: str, code: int) -> int:
    sys.stderr.write(f"kproc: {text}\n")
    return code


if __name__ == "__main__":
    main()
