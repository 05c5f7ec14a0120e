"""What pages say of settings and commands, made from the code when the site is built.

`<!-- settings -->` in a page becomes the table of all settings, `<!-- commands -->` all commands
with their arguments and options.
"""

import re
from collections.abc import Iterator
from typing import Any

import typer

from processor.cli.main import app
from processor.settings import Settings


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by MkDocs with the text of each page."""
    for mark, made in (("settings", _settings), ("commands", _commands)):
        if (sign := f"<!-- {mark} -->") in markdown:
            markdown = markdown.replace(sign, "\n".join(made()))
    return markdown


def _settings() -> Iterator[str]:
    yield "| setting | default | what it means |"
    yield "| --- | --- | --- |"
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default in ("", {}) else f"`{default}`"
        yield f"| `{name}` | {shown} | {_cell(field.description or '')} |"


def _commands() -> Iterator[str]:
    root: Any = typer.main.get_command(app)
    for name, command in root.commands.items():
        yield from _command(command, f"kproc {name}", 2)


def _command(command: Any, path: str, level: int) -> Iterator[str]:
    yield f"\n{'#' * level} {path}\n"
    yield _prose(command.help or "")
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}", level + 1)
        return
    usage = command.get_usage(command.context_class(command, info_name=path))
    yield f"\n```text\n{' '.join(usage.removeprefix('Usage:').split())}\n```\n"
    yield "| option | what it does |"
    yield "| --- | --- |"
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden:
            yield f"| {_names(option)} | {_cell(option.help or '')} |"
    if command.epilog:
        yield f"\n{_prose(command.epilog)}"


def _names(option: Any) -> str:
    metavar = "" if option.is_flag else f" {option.metavar or option.name}".upper()
    return ", ".join(f"`{name}{metavar}`" for name in (*option.opts, *option.secondary_opts))


def _prose(text: str) -> str:
    return re.sub(r"\[/?(?:dim|bold)?\]", "", text.replace("\f", "")).strip()


def _cell(text: str) -> str:
    return _prose(text).replace("|", r"\|").replace("\n", " ")
