"""Each `kproc` command in a shell block of the docs is one that there is, with its options."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from processor.cli.main import app
from tests.docs.pages import ROOT, TEXTS, blocks, name_of

ENDS = {"&&", "||", ";", "|", "&", ">", "<"}
ASSIGNMENT = re.compile(r"[A-Z_]+=")


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `kproc` in the page's shell blocks."""
    for block in blocks(page, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            for command in parts(split(line)):
                if "kproc" in command and is_call(command[: command.index("kproc")]):
                    yield command[command.index("kproc") + 1 :]


def split(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    return list(lexer)


def parts(tokens: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for token in tokens:
        if token in ENDS:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def is_call(before: list[str]) -> bool:
    """Whether what stands before `kproc` only sets variables or says how it is started."""
    left = [each for each in before if not ASSIGNMENT.match(each)]
    return left[:2] in ([], ["uv", "run"])


def parse(arguments: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    while True:
        context = command.make_context(command.name, list(arguments))
        if not hasattr(command, "commands"):
            return
        _, command, arguments = command.resolve_command(
            context, [*context._protected_args, *context.args]
        )


CALLS = [
    pytest.param(arguments, id=f"{name_of(page)}: {' '.join(arguments)}")
    for page in TEXTS
    for arguments in commands(page)
]


@pytest.mark.parametrize("arguments", CALLS)
def test_the_command_is_one(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        parse(arguments)
    except typer.Exit:
        assert arguments == ["--version"]


def test_one_that_is_none_is_found() -> None:
    for arguments in (["go", "orders.py"], ["run", "orders.py", "--fast"], ["run"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing"):
            parse(arguments)


def test_commands_are_found_behind_what_starts_them() -> None:
    assert is_call(["KPROC_SLOTS=4", "uv", "run"])
    assert is_call([])
    assert not is_call(["docker", "compose", "exec", "node-a"])
    assert len(CALLS) > 40
