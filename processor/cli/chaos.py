"""`kproc chaos`: a topology of the user's own against failures, for real."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from processor.cli.common import TopologyArgument, redacting, say
from processor.cli.feeds import (
    BootstrapOption,
    InputsOption,
    KeyOption,
    TimestampOption,
    ValueFormatOption,
    feeds_of,
    trial_folder,
)
from processor.cli.run import ConfigOption, SetOption
from processor.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from processor.chaos.possible import Scene
    from processor.chaos.run import ChaosTrial
    from processor.chaos.schedule import Kind
    from processor.chaos.verdict import Report
    from processor.settings import Settings
    from processor.topology.plan import Plan
    from processor.topology.topology import Topology

_FAILED = 9
_INTERRUPTED = 130

CHAOS_EXAMPLES = """\
Examples:

kproc chaos topologies/flights.py   [dim]its sample data, three nodes, any fault, two minutes[/]

kproc chaos orders.py --input orders.csv --key user --timestamp at --rate 2000

kproc chaos enrich.py --input orders=orders.csv --input users=users.jsonl --key user

kproc chaos orders.py --input orders.csv --faults kill-node --faults broker --seed 7 --keep

kproc chaos orders.py --input orders.csv --faults operator   [dim]what people do with it[/]

kproc chaos orders.py --input orders.csv --brokers 3 --faults role

Faults: kill-worker suspend-worker kill-node suspend-node restart-node kill-supervisor \
suspend-supervisor kill-broker suspend-broker restart-broker; kill, node and so on name several. \
Operators': rescale-slots rescale-sleeper reset-state reset-sleeper delete-group \
truncate-changelog copy-folder. Roles of brokers: transaction-coordinator group-coordinator \
input-leader changelog-leader slots-leader, each with kill or suspend.

Exit codes: [bold]0[/] nothing lost, doubled or out of order · [bold]9[/] something is · \
[bold]2[/] command, settings or topology are wrong · [bold]3[/] Kafka is not as needed · \
[bold]7[/] it does not run even without faults, or a node keeps ending · [bold]130[/] interrupted
"""


def _fault_words(incomplete: str) -> list[str]:
    from processor.chaos.schedule import WORDS  # noqa: PLC0415 - only where it is needed

    return [word for word in WORDS if word.startswith(incomplete)]


def chaos(  # noqa: PLR0913 - options of a command
    topology: TopologyArgument,
    *,
    minutes: Annotated[float, typer.Option(min=0.05, help="How long faults happen.")] = 2.0,
    seed: Annotated[
        int | None,
        typer.Option(help="The same seed, the same faults. By default any; it is reported."),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, max=20, help="How many nodes: kproc run.")] = 3,
    brokers: Annotated[
        int, typer.Option(min=1, max=9, help="How many brokers its own Kafka has, such as 3.")
    ] = 1,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Of the application; by default one for each node.")
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these, such as kill-node, worker, operator or all. Repeatable. By default "
            "failures.",
            autocompletion=_fault_words,
        ),
    ] = None,
    every: Annotated[
        str, typer.Option(metavar="TIME", help="Between two faults, in the mean.")
    ] = "5s",
    inputs: InputsOption = None,
    rate: Annotated[float, typer.Option(min=1, help="Records a second, for each topic.")] = 1000,
    key: KeyOption = None,
    timestamp: TimestampOption = None,
    value_format: ValueFormatOption = None,
    bootstrap: BootstrapOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the folder, and its own Kafka running.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report as JSON, with the schedule.")
    ] = False,
) -> None:
    """Tests a topology against failures: real processes, real load, faults on a seeded schedule.

    Several nodes work on a Kafka of their own, which is fed steadily. Workers, nodes, supervisors
    and brokers are killed, suspended and restarted; an operator rescales, resets and breaks things,
    if asked to. In the end all that was written is compared
    with what the same input gives without any failure; the topology's functions run here for that.

    Records of global tables are written once, before all others.

    Ctrl-C ends the faults early, and the check comes then; twice ends it all.
    """
    from processor.chaos.possible import Scene  # noqa: PLC0415
    from processor.chaos.run import ChaosTrial  # noqa: PLC0415
    from processor.chaos.schedule import Terms  # noqa: PLC0415
    from processor.durations import milliseconds  # noqa: PLC0415
    from processor.loading import load as load_topology  # noqa: PLC0415
    from processor.topology.plan import plan  # noqa: PLC0415

    if brokers == 2:  # noqa: PLR2004 - a number that is none
        raise UsageError("--brokers 2: of two none may go, as the other is no majority; say 1 or 3")
    loaded = load_topology(topology)
    made = plan(loaded)
    flags = {"slots": slots, "bootstrap": bootstrap}
    settings = _settings(loaded, flags, sets or (), config, nodes)
    on_disk = settings.state_store == "rocksdb"
    kinds = _kinds(faults or (), Scene(made, 0 if bootstrap else brokers, on_disk))
    terms = Terms(
        seed=random.SystemRandom().randrange(10**6) if seed is None else seed,
        duration=round(minutes * 60_000),
        nodes=nodes,
        kinds=kinds,
        every=milliseconds(every, "--every"),
        failover_timeout=milliseconds(settings.failover_timeout, "failover_timeout"),
        brokers=brokers,
    )
    refuse_changing_tables(made)
    feeds = feeds_of(made, loaded.samples, inputs or (), settings, key, timestamp, value_format)
    embedded = bootstrap is None
    try:
        with redacting(settings, topology), trial_folder("chaos", keep=keep) as folder:
            trial = ChaosTrial(
                topology=topology,
                plan=made,
                settings=settings,
                terms=terms,
                feeds=feeds.inputs,
                rate=rate,
                folder=folder.path,
                tables=feeds.tables,
                embedded=embedded,
                leave=keep,
            )
            report = _work(trial, as_json=as_json)
            folder.keep = keep or not report.verdict.passed
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    if not report.verdict.passed:
        raise typer.Exit(_FAILED)


def _settings(
    loaded: "Topology",
    flags: dict[str, Any],
    sets: Sequence[str],
    config: Path | None,
    nodes: int,
) -> "Settings":
    """The effective settings, with backups and a slot for each node where nothing else is said."""
    from processor.layers import assigned  # noqa: PLC0415
    from processor.settings import load  # noqa: PLC0415

    given = {**assigned(sets), **{k: v for k, v in flags.items() if v is not None}}
    settings, origins = load(given, loaded.settings, config)
    changed: dict[str, Any] = {}
    if "slots" not in origins:
        changed["slots"] = nodes
    if "backup_mode" not in given:
        changed["backup_mode"] = "primary-backup"
    if settings.guarantee != "exactly-once":
        raise SettingsError(
            "guarantee is at-least-once: records may count again after a failure, so that nothing "
            "can be compared; add --set guarantee=exactly-once"
        )
    return settings.model_copy(update=changed)


def _kinds(words: Sequence[str], scene: "Scene") -> "tuple[Kind, ...]":
    """The kinds that are asked for, as far as they are possible.

    Raises:
        UsageError: None of them is.
    """
    from processor.chaos.schedule import FAILURES, OF_ROLES, kinds_of  # noqa: PLC0415

    asked = kinds_of(words) if words else (*FAILURES, *OF_ROLES)
    found = scene.possible(asked)
    if not found:
        raise UsageError(f"--faults {asked[0]}: {scene.obstacle(asked[0])}")
    if words and (left_out := [kind for kind in asked if kind not in found]):
        why = {scene.obstacle(kind) for kind in left_out}
        say(f"Left out: {', '.join(map(str, left_out))} ({'; '.join(sorted(filter(None, why)))})")
    return found


def refuse_changing_tables(plan: "Plan") -> None:
    """Refuses what chaos can't compare.

    Raises:
        UsageError: A global table changes while the application runs.
    """
    if changing := sorted({*plan.tables} & {*plan.inputs, *plan.outputs}):
        raise UsageError(
            f"{', '.join(changing)}: the topology reads or writes the topic of a global table "
            "besides. What a record meets there depends on when it is worked on, so that no two "
            "runs need be alike; chaos compares topologies whose global tables stay as they are"
        )


def _work(trial: "ChaosTrial", *, as_json: bool) -> "Report":
    from processor.chaos.run import ChaosRun  # noqa: PLC0415
    from processor.chaos.verdict import as_json as reported  # noqa: PLC0415
    from processor.cli.chaos_display import print_report, shown  # noqa: PLC0415

    say(f"Chaos with seed {trial.terms.seed}")
    with shown(trial) as watcher, ChaosRun(trial, watcher) as run:
        report = run.run()
    if as_json:
        typer.echo(json.dumps(reported(report)))
    else:
        print_report(report)
    if trial.leave and trial.embedded:
        data = trial.folder / "kafka"
        stop = "; ".join(
            f"kproc dev --stop --data {data / str(number)}"
            for number in range(1, trial.terms.brokers + 1)
        )
        say(f"Kafka runs on at {run.bootstrap}; this stops it: {stop}")
    return report
