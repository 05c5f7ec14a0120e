"""Texts for people: numbers of things, and commands that are advised."""

import shlex


def several(count: int, noun: str) -> str:
    """A number of things: `1 record`, `1,200 records`.

    Args:
        count: How many.
        noun: What one of them is called, whose plural ends in `s`.
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def naming(text: str, topology: str) -> str:
    """Advice such as `kproc reset FILE.py`, with the file that is meant.

    Args:
        text: Of an error or a log line.
        topology: The file as a command was given it, with or without a variable's name.
    """
    return text.replace("FILE.py", shlex.quote(topology))


def adding(extra: str) -> str:
    """How an extra is added to a kproc that is installed, wherever that came from.

    Args:
        extra: Its name.
    """
    return f"uv add kproc --extra {extra}, or pip install 'kproc[{extra}]'"
