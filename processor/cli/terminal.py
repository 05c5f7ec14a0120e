"""A terminal shared by a live area and everybody else's output: theirs goes above, line by line.

Owns the redirection of the process' own standard output and error, which child processes inherit.
"""

import contextlib
import fcntl
import os
import pty
import select
import sys
import termios
from collections.abc import Generator
from threading import Event, Thread

from rich.console import Console
from rich.text import Text

_CHUNK = 65536
_PATIENCE = 0.05


@contextlib.contextmanager
def shared_terminal() -> Generator[Console]:
    """A console on the terminal that stderr is; what is written to stdout and stderr goes through.

    Children are given a terminal too, so that they write line by line and in colours as they would
    without this. A stdout that is no terminal is left alone.
    """
    taken = [1, 2] if os.isatty(1) else [2]
    saved = {number: os.dup(number) for number in taken}
    master, slave = _open_pty(saved[2])
    done = Event()
    with os.fdopen(os.dup(saved[2]), "w", encoding="utf-8") as terminal:
        console = Console(file=terminal)
        reader = Thread(target=_pass_on, args=(master, console, done), name="terminal")
        try:
            _flush()
            for number in taken:
                os.dup2(slave, number)
            reader.start()
            yield console
        finally:
            _flush()
            for number, original in saved.items():
                os.dup2(original, number)
                os.close(original)
            os.close(slave)
            done.set()
            reader.join()
            os.close(master)


def _open_pty(terminal: int) -> tuple[int, int]:
    """A pseudo terminal of the same size that changes nothing of what passes."""
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # no carriage returns
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    return master, slave


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _pass_on(master: int, console: Console, done: Event) -> None:
    """Prints whole lines until it is done and nothing is left."""
    rest = b""
    while True:
        ready, _, _ = select.select([master], [], [], _PATIENCE)
        if not ready and done.is_set():
            break
        data = b""
        if ready:
            with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
                data = os.read(master, _CHUNK)
            if not data:
                break
        *lines, rest = (rest + data).split(b"\n")
        _show(console, lines)
    _show(console, [rest] if rest else [])


def _show(console: Console, lines: list[bytes]) -> None:
    if lines:
        text = b"\n".join(lines).decode(errors="replace")
        console.print(Text.from_ansi(text), soft_wrap=True)
