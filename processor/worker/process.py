"""The worker process: works on one slot.

Its slot comes on standard input as the first line, and may come much later than the process is
started, which loads the topology meanwhile. The line `adopt` makes a backup the primary, a line
that begins with `ended` names topics that get no more records. The end of standard input is the end
of the supervisor, and so of the worker. What happens is reported in a file. Asked by a signal what
it is at, it writes that to another one, whoever holds the interpreter. On a socket its stores are
asked.
"""

import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from threading import Thread

import msgspec

from processor.errors import KprocError, TooSlow
from processor.loading import load
from processor.topology.plan import plan
from processor.worker.channel import ADOPT, ENDED, WHERE, Channel, Status
from processor.worker.queries import serve
from processor.worker.slot import Slot
from processor.worker.spec import WorkerSpec

_ORPHAN_SECONDS = 5.0
"""What a worker has to finish in once its supervisor is gone."""


def main(reports: int, stack: int, *topologies: str, queries: int | None = None) -> int:
    """Runs the slot that standard input describes; returns the exit code.

    Args:
        reports: The file descriptor for all reports.
        stack: The one that gets what it is at.
        topologies: What is loaded meanwhile.
        queries: The socket on which stores are asked; None: nobody asks.
    """
    gc.set_threshold(50_000, 20, 50)  # batches are many objects that die together
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor gets it, too, and decides
    faulthandler.register(WHERE, file=stack, all_threads=False)
    for topology in topologies:
        with contextlib.suppress(KprocError):  # it comes again when the topology is needed
            load(topology)
    lines = _lines(sys.stdin.fileno())
    line = next(lines, None)
    if line is None:
        return 0
    spec = msgspec.json.decode(line, type=WorkerSpec)
    channel = Channel(reports, spec.slot, spec.topology)
    channel.send(Status(spec.slot, "starting", role=spec.role))
    try:
        slot = Slot(spec, plan(load(spec.topology)), channel)
        if queries is not None:
            serve(socket.socket(fileno=queries), slot.answerer)
        run(slot, spec.supervisor, lines)
    except KprocError as error:
        records = error.records if isinstance(error, TooSlow) else 0
        channel.fail(error, str(error), records)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the supervisor reports it and starts a new worker
        channel.fail(error, "".join(traceback.format_exception(error)))
        return 1
    return 0


def run(slot: Slot, supervisor: int, lines: Iterator[bytes]) -> None:
    """Runs a slot until it is done, the supervisor says stop, or is gone, or a SIGTERM comes."""

    def stop(_number: int, _frame: object) -> None:
        slot.stop()

    signal.signal(signal.SIGTERM, stop)
    Thread(target=_listen, args=(slot, supervisor, lines), daemon=True).start()
    slot.run()


def _lines(descriptor: int) -> Iterator[bytes]:
    # By reads of the descriptor: a buffered reader's lock would be held at the interpreter's end.
    unread = b""
    while data := os.read(descriptor, 65536):
        *lines, unread = (unread + data).split(b"\n")
        yield from lines


def _listen(slot: Slot, supervisor: int, lines: Iterator[bytes]) -> None:
    for line in lines:
        if line == ADOPT:
            slot.adopt()
        elif line.startswith(ENDED):
            slot.end_input(msgspec.json.decode(line.removeprefix(ENDED), type=frozenset[str]))
    slot.stop()
    while os.getppid() == supervisor:  # it decides how long this may take
        time.sleep(0.5)
    # Nobody else would end a worker that waits for a broker, and its stores stay locked.
    time.sleep(_ORPHAN_SECONDS)
    os._exit(1)
