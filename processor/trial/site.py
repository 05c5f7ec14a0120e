"""Where the application of a trial lives: its file, its settings, its nodes' folders.

Starts nodes and commands there.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from processor.local.embedded import end_with_parent
from processor.local.node_process import KPROC, NodeProcess
from processor.local.settings_file import unset_environment, write_settings
from processor.settings import Settings


@dataclass(slots=True)
class Site:
    """An application's place.

    Attributes:
        topology: The file.
        settings: The effective settings of all nodes, but for their folders.
        folder: Where everything is.
    """

    topology: str
    settings: Settings
    folder: Path

    def __post_init__(self) -> None:
        # They are on one machine, where a port can't be listened on twice.
        self.settle(self.settings.model_copy(update={"http": ""}))

    @property
    def config(self) -> Path:
        """The file with the settings, wherever they came from."""
        return self.folder / "kproc.toml"

    def settle(self, settings: Settings) -> None:
        """Has those who start from now on have these settings."""
        self.settings = settings
        write_settings(settings, self.config)

    def state_of(self, number: int) -> Path:
        """The state folder of a node."""
        return self.folder / f"node-{number}"

    def start_node(self, number: int) -> NodeProcess:
        """Starts a node on its folder."""
        return self.start_on(self.state_of(number))

    def start_on(self, state: Path) -> NodeProcess:
        """Starts a node on a folder; its log lies beside it."""
        state.mkdir(exist_ok=True)
        options = ["--config", str(self.config), "--state-dir", str(state)]
        return NodeProcess(self.topology, options, state.with_suffix(".log"), unset_environment())

    def start_command(self, name: str, options: Sequence[str]) -> psutil.Popen:
        """Starts another command on the application; it prints to `operator.log`."""
        command = [*KPROC, name, self.topology, "--config", str(self.config), *options]
        with self.log.open("ab") as output:
            return psutil.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=unset_environment(),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )

    @property
    def log(self) -> Path:
        """What commands printed."""
        return self.folder / "operator.log"
