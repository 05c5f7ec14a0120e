"""Who a node is: its state folder's lock and name, which outlive the process.

    <state_dir>/<application>/node        the name, locked by the node that runs

Several nodes on one machine may be given the same `state_dir`: the first takes it, the next ones
take the folders node-2, node-3, ... in it.
"""

import fcntl
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from processor.errors import StateError

_MOST = 100


@dataclass(slots=True)
class Identity:
    """A node's name, its present start, and its folder.

    Attributes:
        node: The same again when a node starts with the same folder.
        boot: Another with each start.
        state_dir: Where its stores are.
    """

    node: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    boot: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    state_dir: Path = Path()
    _lock: int | None = None

    def close(self) -> None:
        """Lets another node have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def take_identity(state_dir: Path, application: str) -> Identity:
    """Takes the first folder that no running node has.

    Raises:
        StateError: The folder can't be used.
    """
    for number in range(1, _MOST + 1):
        folder = state_dir if number == 1 else state_dir / f"node-{number}"
        try:
            lock = _lock(folder / application / "node")
        except OSError as error:
            raise StateError(
                f"the state folder {folder} can't be used: {error.strerror or error}. Let this "
                "user write there, or choose another state_dir"
            ) from error
        if lock is not None:
            return _identity(folder, lock)
    raise StateError(f"{_MOST} nodes of {application} run with the state_dir {state_dir}")


def _lock(file: Path) -> int | None:
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(opened)
        return None
    return opened


def _identity(folder: Path, lock: int) -> Identity:
    name = os.pread(lock, 64, 0).decode(errors="replace").strip()
    found = Identity(state_dir=folder, _lock=lock)
    if name:
        found.node = name
    else:
        os.pwrite(lock, found.node.encode(), 0)
        os.fsync(lock)
    return found
