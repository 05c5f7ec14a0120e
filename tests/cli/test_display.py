"""What a run shows: figures over restarts, log lines, the live area, results."""

import io
import json
import os
import pty
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from rich.console import Console

from processor import Topology, tumbling
from processor.cli.area import area
from processor.cli.display import LogDisplay, logger
from processor.cli.show import results, serdes_of
from processor.cli.summary import Run, print_summary
from processor.cluster.beats import Adoption, Beat, Claim
from processor.cluster.view import View
from processor.kafka.results import Results
from processor.node.accounting import Figures
from processor.node.node import NodeState
from processor.records import Timestamp
from processor.serdes import int64, text
from processor.settings import Settings, load
from processor.topology.plan import Plan, lay_out, plan
from processor.worker.channel import (
    CRASHED,
    BadRecords,
    Failure,
    Lateness,
    Log,
    RestoreStatus,
    Status,
)
from tests.cluster.topic import Topic, backup, primary

CANARY = "canary-7f3a"


def orders() -> Plan:
    topology = Topology("orders")
    topology.stream("in").group_by_key().count().to("out", key=str, value=int)
    return plan(topology)


def state(made: Plan) -> NodeState:
    return NodeState(lay_out(made, {"in": 1}), 0.0)


class Logged:
    """A display that logs JSON, and what it logged."""

    def __init__(self, settings: Settings | None = None, *, quiet: bool = False) -> None:
        self.file = io.StringIO()
        self.plan = orders()
        settings = settings or load().settings
        log = logger(settings, self.file, "json", quiet=quiet)
        self.display = LogDisplay(Run(self.plan, settings, until_end=False), log)

    @property
    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.file.getvalue().splitlines()]
        return [{k: v for k, v in line.items() if k != "timestamp"} for line in lines]


def test_figures_of_a_worker_that_was_started_again_are_added() -> None:
    figures = Figures(100.0)
    bad = (BadRecords("json", "not JSON", 2),)
    figures.note(Status(0, "starting"), 100.0)
    figures.note(Status(0, "running", records=50, checkpoints=5, bad_records=bad), 101.0)
    figures.note(Status(1, "starting"), 101.0)
    figures.note_restart(0)
    for _ in range(3):
        figures.note(Status(0, "starting"), 102.0)
    figures.note(Status(0, "running", records=7, checkpoints=1, bad_records=bad), 102.0)
    figures.note(Status(1, "running", records=3, checkpoints=2, lag=4), 102.0)
    assert (figures.records, figures.checkpoints, figures.restarts) == (60, 8, 1)
    assert figures.bad_records == {("json", "not JSON"): 4}
    assert figures.seconds == 2.0
    assert figures.mean_rate == 30.0
    assert figures.slots[0].restarts == 1


def test_rates_are_of_the_last_seconds() -> None:
    figures = Figures(0.0)
    figures.note(Status(0, "starting"), 0.0)
    for second in range(1, 11):
        figures.note(Status(0, "running", records=1000 * second), float(second))
    for second in range(11, 14):
        figures.note(Status(0, "running", records=10_000), float(second))
    assert figures.records_per_second == 400.0


def test_the_lag_is_known_when_every_slot_knows() -> None:
    figures = Figures(0.0)
    figures.note(Status(0, "running", lag=4), 1.0)
    assert figures.lag == 4
    figures.note(Status(1, "starting"), 1.0)
    assert figures.lag is None


def test_the_lag_is_not_that_of_backups() -> None:
    figures = Figures(0.0)
    figures.note(Status(0, "running", lag=4), 1.0)
    figures.note(Status(1, "restoring", lag=7, role="backup"), 1.0)
    assert figures.lag == 4


def test_states_and_reports_are_logged() -> None:
    logged = Logged()
    for _ in range(2):
        logged.display.report(Status(0, "running", partitions=4))
    logged.display.report(Log(0, "warning", "purge failed", {"error": "no", "tries": 2}))
    logged.display.report(Log(0, "debug", "took over", {"seconds": 0.1}))
    assert logged.lines == [
        {"event": "worker running", "level": "info", "slot": 0, "partitions": 4},
        {"event": "purge failed", "level": "warning", "slot": 0, "error": "no", "tries": 2},
    ]


def test_the_state_of_a_backup_and_its_adoption_are_logged() -> None:
    logged = Logged(load({"backup_mode": "primary-backup"}).settings)
    logged.display.report(Status(0, "ready", role="backup"))
    logged.display.report(Status(0, "running", partitions=2))
    adopted: dict[str, str | int | float] = {"reason": "failure", "predecessor": "b", "fence_s": 1}
    logged.display.report(Log(0, "info", "adopted", adopted))
    assert [{**line, "level": None} for line in logged.lines] == [
        {"event": "worker ready", "level": None, "slot": 0, "role": "backup"},
        {"event": "worker running", "level": None, "slot": 0, "partitions": 2},
        {"event": "adopted", "level": None, "slot": 0, **adopted},
    ]


def test_no_worker_is_called_a_backup_where_there_are_none() -> None:
    logged = Logged()
    logged.display.report(Log(0, "info", "worker process", {"pid": 7, "role": "backup"}))
    logged.display.report(Status(0, "starting", role="backup"))
    assert [{**line, "level": None} for line in logged.lines] == [
        {"event": "worker process", "level": None, "slot": 0, "pid": 7},
        {"event": "worker starting", "level": None, "slot": 0, "partitions": 0},
    ]


@pytest.mark.parametrize(("given", "shown"), [({}, {}), ({"slots": 3}, {"slots": 3})])
def test_the_number_of_slots_is_logged_if_it_is_set(
    given: dict[str, int], shown: dict[str, int]
) -> None:
    logged = Logged(load(given).settings)
    with logged.display.visible():
        (line,) = logged.lines
    assert {name: line[name] for name in ("slots",) if name in line} == shown


def test_a_failure_is_reported_with_what_comes_of_it() -> None:
    logged = Logged()
    logged.display.report(Failure(0, "StoreLocked", "is locked"))
    logged.display.report(Log(0, "warning", CRASHED, {"cause": "is locked"}))
    logged.display.report(Failure(1, "Fenced", "is fenced"))
    logged.display.close()
    assert logged.lines == [
        {"event": CRASHED, "level": "warning", "slot": 0, "cause": "is locked"},
        {"event": "worker failed", "level": "error", "slot": 1, "cause": "is fenced"},
    ]


def test_a_traceback_is_reported_once() -> None:
    logged = Logged()
    traceback = "Traceback (most recent call last):\n  File x\nValueError: no\n"
    for slot in range(2):
        fields: dict[str, str | int | float] = {"cause": traceback}
        logged.display.report(Log(slot, "warning", CRASHED, fields))
    first, second = logged.lines
    assert first["exception"].endswith("ValueError: no")
    assert second["cause"] == "ValueError: no"
    assert logged.display.brief(f"crashed: {traceback}") == "crashed: ValueError: no\n"


def test_quiet_shows_warnings_only() -> None:
    logged = Logged(quiet=True)
    logged.display.report(Status(0, "running", bad_records=(BadRecords("json", "not JSON", 2),)))
    logged.display.report(Log(0, "warning", "purge failed"))
    logged.display.summarize(state(logged.plan))
    assert [line["event"] for line in logged.lines] == ["purge failed", "bad records"]


def test_the_last_lines_of_a_log_sum_up() -> None:
    logged = Logged()
    logged.display.report(Status(0, "starting"))
    logged.display.report(
        Status(0, "running", records=9, bad_records=(BadRecords("json", "not JSON", 2),))
    )
    logged.display.summarize(state(logged.plan))
    *_, finished, bad = logged.lines
    assert finished["event"] == "finished"
    assert (finished["records"], finished["bad_records"], finished["restarts"]) == (9, 2, 0)
    assert bad == {
        "event": "bad records",
        "level": "warning",
        "step": "json: not JSON",
        "count": 2,
        "dead_letters": "orders-dead-letters",
    }


def test_no_secret_is_logged() -> None:
    logged = Logged(load({"kafka": {"sasl.password": CANARY}}).settings)
    logged.display.report(Log(0, "error", f"e {CANARY}", {"text": f"t {CANARY}"}))
    logged.display.report(Log(0, "error", "again", {"cause": f"Traceback\nX: {CANARY}\n"}))
    assert CANARY not in logged.file.getvalue()
    assert logged.lines[0]["text"] == "t ********"


def drawn(*reports: Status, node: str = "", view: View | None = None) -> str:
    """The live area after these reports, as text."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    made = orders()
    figures, now = Figures(0.0), state(made)
    now.node, now.view = node, view
    for report in reports:
        figures.note(report, 1.0)
    with console.capture() as captured:
        console.print(area(Run(made, load().settings, until_end=False), figures, now, 0.0))
    return captured.get()


def test_the_live_area_shows_figures_and_slots() -> None:
    shown = drawn(
        Status(0, "running", records=1234, partitions=4, lag=5),
        Status(1, "waiting", lag=0, bad_records=(BadRecords("json", "not JSON", 2),)),
    )
    assert "orders · exactly-once" in shown
    assert "1,234 records" in shown
    assert "lag 5" in shown
    assert "2 bad" in shown
    rows = [line.split() for line in shown.splitlines() if line.strip()]
    assert rows[-2][:3] == ["0", "running", "4"]
    assert rows[-1][:3] == ["1", "waiting", "0"]


def test_a_node_alone_says_nothing_of_others() -> None:
    alone = Topic(slots=1).says("a", primary(), claims={0: 1}).view
    shown = drawn(Status(0, "running"), node="a", view=alone)
    assert "node" not in shown
    assert "role" not in shown


def test_the_live_area_shows_roles_and_the_workers_of_other_nodes() -> None:
    topic = Topic(slots=3).says("b", backup(0, lag=7), primary(1), primary(2), claims={1: 1, 2: 1})
    topic.says("a", primary(0), backup(1, "restoring", 8), claims={0: 1})
    shown = drawn(
        Status(0, "running", partitions=2, lag=5),
        Status(1, "restoring", lag=8, role="backup"),
        Status(2, "running"),  # was here before it moved
        node="a",
        view=topic.view,
    )
    lines = [" ".join(line.split()) for line in shown.splitlines() if line.strip()]
    assert lines[2:] == [
        "slot role state partitions records/s lag restarts elsewhere",
        "0 primary running 2 0 5 0 b.host ready, lag 7",
        "1 backup restoring 0 0 8 0 b.host running",
        "node a.host, one of 2",
    ]


def test_the_live_area_shows_the_last_adoption() -> None:
    view = View(2, 1000)
    adoptions = (
        Adoption(0, 2, "failure", "b", 0.1, 0.2, 0.25, at=2000),
        Adoption(1, 2, "move", "c", 0.1, 0.1, 0.1, at=1000),
    )
    claims = (Claim(0, 2), Claim(1, 2))
    beat = Beat("a", "1", 2, "alpha", claims=claims, replicas=(primary(0), primary(1)))
    view.apply(msgspec.structs.replace(beat, adoptions=adoptions), Timestamp(3000))
    shown = drawn(Status(0, "running"), node="a", view=view)
    last = "last adoption · slot 0, failure, from b · 0.30 s: fence 0.10, catch up 0.20, join 0.25"
    assert last in shown


def test_the_live_area_shows_a_restore() -> None:
    restore = RestoreStatus(stores=2, records=500_000, total=2_000_000, bytes=50_000_000, seconds=1)
    shown = drawn(Status(0, "restoring", restore=restore))
    assert "slot 0 restores · 500,000 records/s · 50.0 MB/s · 0:00:03 left" in shown


def test_the_live_area_shows_downloads() -> None:
    restore = RestoreStatus(1, 0, 0, 0, seconds=2, downloaded=50_000_000, to_download=400_000_000)
    shown = drawn(Status(0, "restoring", restore=restore))
    assert "slot 0 downloads snapshots · 400.0 MB · 25.0 MB/s" in shown


def test_the_summary_says_where_bad_records_went(capsys: pytest.CaptureFixture[str]) -> None:
    made, figures = orders(), Figures(0.0)
    for reason in ("start", "failure", "move", "failure"):
        figures.note_adoption(reason)
    figures.note(
        Status(0, "running", records=10, bad_records=(BadRecords("count", "null-key", 3),)), 2.0
    )
    for policy, expected in (
        ("dead-letter", "kproc consume orders-dead-letters --until-end"),
        ("skip", "dropped"),
    ):
        settings = load({"on_bad_record": policy}).settings
        print_summary(Run(made, settings, until_end=False), figures, state(made))
        shown = capsys.readouterr().err
        assert "orders: 10 records in 2.0 s, 5 records/s" in shown
        assert "3  count: null-key" in shown
        assert "adoptions    2 failure, 1 move" in shown
        assert expected in shown


def test_the_summary_says_how_many_were_late(capsys: pytest.CaptureFixture[str]) -> None:
    made, figures = orders(), Figures(0.0)
    late = {"sums": Lateness(15_942, 7_164), "few": Lateness(1000, 1, 2), "none": Lateness(5)}
    figures.note(Status(0, "running", records=10, late=late), 2.0)
    print_summary(Run(made, load({}).settings, until_end=False), figures, state(made))
    shown = capsys.readouterr().err
    assert "7,164 of 15,942 late  sums" in shown
    assert "1 of 1,000 late, 2 for some of their windows  few" in shown
    assert "none" not in shown
    assert "give sums a grace" in shown


def test_the_summary_says_that_windows_were_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    topology = Topology("windows")
    topology.stream("in").group_by_key().window(tumbling("1h")).count().to("out")
    windows = plan(topology)
    for made, timeout, finished, expected in (
        (windows, "", True, True),
        (windows, "1s", True, False),
        (windows, "", False, False),
        (orders(), "", True, False),
    ):
        now = state(made)
        now.finished = finished
        settings = load({"idle_timeout": timeout}).settings
        print_summary(Run(made, settings, until_end=True), Figures(0.0), now)
        assert ("left open" in capsys.readouterr().err) is expected


def shown_results(found: Results, topology: Plan | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=100)
    serdes = serdes_of(topology, "out") if topology else (text, None)
    with console.capture() as captured:
        console.print(*results("out", found, serdes, "kproc consume out"), sep="\n")
    return [line.rstrip() for line in captured.get().splitlines() if line.strip()]


def test_windows_are_shown_by_their_times() -> None:
    topology = Topology("windows")
    topology.stream("in").group_by_key().window(tumbling("1h")).count().to("out")
    key = b'{"key":"a","start":0,"end":3600000}'
    lines = shown_results(Results({key: b"12"}, [], complete=True), plan(topology))
    assert lines[-1].split() == ["a", "1970-01-01T00:00:00Z/1970-01-01T01:00:00Z", "12"]


def test_results_are_shown_by_key_and_field() -> None:
    found = Results(
        {
            b"b": b'{"n": 12345, "mean_time": 2.5, "at": null}',
            b"a": b'{"n": 7, "mean_time": 0.123456, "tag": "[x]"}',
            b"gone": None,
        },
        [],
        complete=True,
    )
    title, head, _, first, second = shown_results(found)
    assert title == "out · 2 keys"
    assert head.split() == ["key", "n", "mean", "time", "tag", "at"]
    assert first.split() == ["a", "7", "0.123", "[x]"]
    assert second.split() == ["b", "12,345", "2.50"]


def test_results_are_decoded_as_they_were_written() -> None:
    found = Results({b"x": int64.encode(3), b"10": int64.encode(1), b"9": b"?"}, [], complete=True)
    rows = [line.split() for line in shown_results(found, orders())[3:]]
    assert rows == [["9", "?"], ["10", "1"], ["x", "3"]]


def test_many_results_are_cut_and_records_without_keys_are_the_last() -> None:
    many = Results({b"%d" % key: b"1" for key in range(30)}, [], complete=False)
    shown = shown_results(many)
    assert shown[0] == "out · 30 keys in its last records"
    assert shown[-1] == "… and 10 more: kproc consume out"
    keyless = Results({}, [b"%d" % value for value in range(30)], complete=True)
    assert [line.strip() for line in shown_results(keyless)[3:5]] == ["10", "11"]
    assert shown_results(Results({}, [], complete=True)) == ["out · 0 keys"]
    assert shown_results(Results({b"a": b"1"}, [], complete=True))[0] == "out · 1 key"
    assert shown_results(Results({}, [b"1"], complete=True))[0] == "out · 1 record"


TERMINAL = """
import subprocess, sys
from rich.live import Live
from processor.cli.terminal import shared_terminal
with shared_terminal() as console, Live("AREA", console=console, transient=True):
    print("from here")
    child = "import sys; print('to be', sys.stdout.isatty()); sys.stderr.write('no break')"
    subprocess.run([sys.executable, "-c", child])
print("after")
"""


def test_output_of_others_goes_above_the_live_area() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TERMINAL], stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    output = b""
    while True:
        try:
            output += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(120) == 0
    lines = output.decode().replace("\r", "\n").split("\n")
    for whole in ("from here", "to be True", "no break", "after"):
        assert any(line.endswith(whole) for line in lines)
    assert lines.index("after") > max(n for n, line in enumerate(lines) if "AREA" in line)
