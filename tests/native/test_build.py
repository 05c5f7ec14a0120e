"""The extension is built where a compiler is, and left out where none is."""

import os
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest

from processor.native.client import missing

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "processor" / "native" / "plane.c"

needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="no C compiler, or no headers of Python",
)


@needs_compiler
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_it_compiles_without_a_warning(tmp_path: Path, level: str) -> None:
    command = ["cc", "-std=c11", level, "-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]
    include = ["-isystem", sysconfig.get_path("include")]
    built = ["-fPIC", "-c", str(SOURCE), "-o", str(tmp_path / "plane.o")]
    done = subprocess.run([*command, *include, *built], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_it_is_built_in_an_environment_with_a_compiler() -> None:
    """Of one that got its compiler later: uv sync --reinstall-package kproc."""
    assert missing() == ""


def wheel(folder: Path, compiler: str) -> Path:
    environment = {**os.environ, "CC": compiler}
    command = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(command, env=environment, check=True, timeout=280)
    (built,) = folder.glob("*.whl")
    return built


@needs_compiler
def test_a_wheel_carries_it_for_every_python_from_3_11_on(tmp_path: Path) -> None:
    built = wheel(tmp_path, "cc")
    assert "-cp311-abi3-linux_" in built.name
    assert "processor/native/plane.abi3.so" in zipfile.ZipFile(built).namelist()


def test_without_a_compiler_a_wheel_is_of_python_alone(tmp_path: Path) -> None:
    built = wheel(tmp_path, str(tmp_path / "no-compiler"))
    assert built.name.endswith("-py3-none-any.whl")
    assert "processor/native/client.py" in zipfile.ZipFile(built).namelist()
    assert "processor/native/plane.abi3.so" not in zipfile.ZipFile(built).namelist()
