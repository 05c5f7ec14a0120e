"""`kproc query`: what the stores of a running application hold."""

import sys
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from processor.cli.common import TopologyArgument, load_with_settings, moment, redacting, say
from processor.cli.formats import shown_time, window_text
from processor.cli.run import ConfigOption, SetOption
from processor.errors import QueryError, UsageError
from processor.records import Timestamp

if TYPE_CHECKING:
    from processor.client import Client, StoreInfo
    from processor.settings import Settings

_NOT_THERE = 1

QUERY_EXAMPLES = """\
Examples:

kproc query orders.py   [dim]which stores there are[/]

kproc query orders.py totals ann   [dim]the value of a key[/]

kproc query orders.py totals --from a --to b --limit 20   [dim]keys from a to before b[/]

kproc query orders.py hourly ann --from 2026-01-31T12:00   [dim]the windows of a key[/]

kproc query orders.py totals --count   [dim]how many keys there are[/]

Exit codes: [bold]0[/] it was answered · [bold]1[/] there is no such key · [bold]2[/] the command \
or a setting is wrong · [bold]3[/] Kafka is not as needed · [bold]11[/] it can't be answered, or \
not now
"""


def query(  # noqa: PLR0913 - options of a command
    topology: TopologyArgument,
    store: Annotated[
        str | None, typer.Argument(help="The store; without it they are listed.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Argument(help="Text as it is, any other key as JSON; without it all keys."),
    ] = None,
    *,
    first: Annotated[
        str | None,
        typer.Option("--from", help="The first key; of windows the time from which on."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="The key, or time, before which to end.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Entries to show, at most.")] = 100,
    every: Annotated[bool, typer.Option("--all", help="Show all of them.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Only count them.")] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="A backup may answer where there is no primary.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    http: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A node to ask; else they are found by Kafka."),
    ] = None,
    bootstrap: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where Kafka listens.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
) -> None:
    """Shows what a store of a running application holds: a key, windows, a range, or a count.

    Nodes need the setting http. What is shown is committed.

    Example: kproc query orders.py totals ann
    """
    loaded, settings = load_with_settings(topology, config, sets, bootstrap=bootstrap)
    with redacting(settings, topology), _client(loaded.name, settings, http) as client:
        infos = client.stores()
        if store is None:
            _show(_list(infos), ("store", "kind", "key", "value"), as_json=as_json)
            return
        kind = _kind(infos, store)
        if count:
            found = _view(client, store, kind, stale=stale).count()
            more = "" if found.exact else " at least; more than could be counted in time"
            text = {"count": found.count, "exact": found.exact}
            _write(text) if as_json else typer.echo(f"{found.count}{more}")
            return
        wanted = _entries(client, store, kind, key, _Span(first, end), stale=stale)
        entries = list(islice(wanted, None if every else limit + 1))
        _show(entries if every else entries[:limit], _columns(kind), as_json=as_json)
        if not entries and key is not None:
            say(f"kproc: store {store} has no such key")
            raise typer.Exit(_NOT_THERE)
        if not every and len(entries) > limit:
            say("There are more: --limit shows some more of them, --all all.")


def _client(application: str, settings: "Settings", http: str | None) -> "Client":
    from processor.client import Client  # noqa: PLC0415 - only where it is needed
    from processor.node.advertising import shown_to_others  # noqa: PLC0415

    shown = shown_to_others(settings)
    nodes = [http if "://" in http else f"http://{http}"] if http else _nodes(application, settings)
    return Client(
        nodes, token=shown.token, ca=shown.ca, certificate=shown.certificate, key=shown.key
    )


def _nodes(application: str, settings: "Settings") -> list[str]:
    """The URLs of the nodes that run, by their heartbeats."""
    from processor.durations import milliseconds  # noqa: PLC0415
    from processor.node.observing import overviews  # noqa: PLC0415

    timeout = milliseconds(settings.failover_timeout, "failover_timeout")
    overview, _ = next(overviews(settings.clients.kafka, application, timeout))
    live = [node for node in overview.nodes if node.state in ("live", "leaving")]
    if not live:
        raise QueryError(f"no node of {application} runs: start one with kproc run", "moving")
    if not (urls := [node.http for node in live if node.http]):
        raise UsageError(
            f"the nodes of {application} serve no http: set it, such as KPROC_HTTP=:8080, and "
            "start them again"
        )
    return urls


def _kind(infos: "list[StoreInfo]", store: str) -> str:
    kinds = {info.name: info.kind for info in infos}
    if store not in kinds:
        there = f"there are {', '.join(kinds)}" if kinds else "the topology keeps none"
        raise UsageError(f"no store {store!r} can be asked: {there}")
    return kinds[store]


def _view(client: "Client", store: str, kind: str, *, stale: bool) -> Any:
    made: Any = client.windows if kind == "windows" else client.store
    return made(store, stale=stale)


class _Span(NamedTuple):
    """From where to where entries are asked for, as given; None: no bound."""

    first: str | None
    end: str | None


def _entries(
    client: "Client",
    store: str,
    kind: str,
    key: str | None,
    span: _Span,
    *,
    stale: bool,
) -> Iterable[dict[str, Any]]:
    view = _view(client, store, kind, stale=stale)
    if kind == "windows":
        since, until = (
            None if text is None else moment(text, option)
            for text, option in zip(span, ("--from", "--to"), strict=True)
        )
        found = view.items(since, until) if key is None else view.get(key, since, until)
        for window, value in found:
            yield {"key": window.key, "start": window.start, "end": window.end, "value": value}
    elif key is None:
        for each, value in view.items(*span):
            yield {"key": each, "value": value}
    elif (entry := view.entry(key)) is not None:
        time = {} if entry.timestamp is None else {"timestamp": entry.timestamp}
        behind = {} if entry.behind is None else {"behind": entry.behind}
        yield {"key": entry.key, "value": entry.value, **time, **behind}


def _list(infos: "list[StoreInfo]") -> list[dict[str, Any]]:
    return [
        {"store": info.name, "kind": info.kind, "key": info.key, "value": info.value}
        for info in infos
    ]


def _columns(kind: str) -> tuple[str, ...]:
    return ("window", "value") if kind == "windows" else ("key", "value", "timestamp", "behind")


def _show(rows: list[dict[str, Any]], columns: tuple[str, ...], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            _write(row)
        return
    there = [name for name in columns if name == "window" or any(name in row for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in there:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(name, row) for name in there))
    if rows:
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 1000
        console.print(table)


def _cell(name: str, row: dict[str, Any]) -> str:
    if name == "window":
        return window_text(row["key"], row["start"], row["end"])
    value = row.get(name, "")
    if name == "timestamp" and value != "":
        return shown_time(Timestamp(value))
    return value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    import msgspec  # noqa: PLC0415 - only where it is needed

    return msgspec.json.encode(value).decode()


def _write(row: Any) -> None:
    sys.stdout.write(f"{_text(row)}\n")
