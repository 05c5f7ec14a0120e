"""Builds the native plane into what is installed, if a C compiler is there; else it is left out."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SOURCE = "processor/native/plane.c"
_BUILT = "processor/native/plane.abi3.so"
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden")


class NativePlane(BuildHookInterface):
    """Compiles one file against Python's stable interface; it needs nothing of librdkafka."""

    _folder: TemporaryDirectory[str]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and has a wheel say for which platform it is then.

        An editable install has the extension beside its source.
        """
        self._folder = TemporaryDirectory()
        compiled = Path(self._folder.name, "plane.so")
        failure = self._compile(compiled)
        if failure:
            self.app.display_warning(f"kproc's native plane is left out: {failure}")
        if version == "editable":
            beside = Path(self.root, _BUILT)
            beside.unlink(missing_ok=True)  # a process may have it open, or it is an older one
            if not failure:
                shutil.copy(compiled, beside)
        elif not failure:
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["force_include"][str(compiled)] = _BUILT
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Removes what was compiled."""
        del version, build_data, artifact_path
        self._folder.cleanup()

    def _compile(self, to: Path) -> str:
        """Why there is no extension; empty: there is one."""
        if not sys.platform.startswith("linux"):
            return f"it is for Linux, not for {sys.platform}"
        compiler = shlex.split(os.environ.get("CC", "cc"))
        include = f"-I{sysconfig.get_path('include')}"
        command = [*compiler, *_FLAGS, include, _SOURCE, "-o", str(to), "-ldl"]
        try:
            done = subprocess.run(  # noqa: S603 - the compiler that the user names
                command, cwd=self.root, capture_output=True, text=True, check=False
            )
        except OSError as error:
            return f"no C compiler runs ({error})"
        if done.returncode:
            return f"{shlex.join(command)} failed: {done.stderr[-2000:]}"
        return ""
