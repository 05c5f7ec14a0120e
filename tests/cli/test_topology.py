from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from processor.cli.topology import topology
from processor.errors import TopologyError, UsageError

FLOW = """
from processor import Topology
flow = Topology("order-totals")
flow.stream("orders").group_by("user").count().to("totals")
"""

runner = CliRunner()
app = typer.Typer()
app.command()(topology)


@pytest.fixture(autouse=True)
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "flow_of_orders.py"
    path.write_text(FLOW)
    return path


def invoke(*arguments: str) -> str:
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_text_is_printed_plain_where_nobody_looks() -> None:
    shown = invoke("flow_of_orders.py")
    assert shown.startswith("Topology order-totals\n\nSubtopology 0\n  orders ")
    assert "\x1b" not in shown


def test_mermaid_is_printed() -> None:
    assert invoke("flow_of_orders.py:flow", "--format", "mermaid").startswith("flowchart LR\n")


@pytest.mark.parametrize("form", ["text", "mermaid"])
def test_output_names_the_file(tmp_path: Path, form: str) -> None:
    shown = invoke("flow_of_orders.py", "--format", form, "--output", "shown")
    assert shown == "Wrote shown.\n"
    assert "order-totals" in (tmp_path / "shown").read_text()


def test_a_file_that_can_not_be_written() -> None:
    with pytest.raises(UsageError, match="can't write no/where: No such file or directory"):
        invoke("flow_of_orders.py", "--output", "no/where")


def test_a_wrong_topology_is_an_error_of_usage(flow: Path) -> None:
    flow.write_text(FLOW.replace('"totals"', '"order-totals-orders-by-user-count-changelog"'))
    with pytest.raises(TopologyError, match="internal topics of the application are called so"):
        invoke("flow_of_orders.py")


def test_an_unknown_format_is_refused() -> None:
    result = runner.invoke(app, ["flow_of_orders.py", "--format", "svg"])
    assert result.exit_code == 2
    assert "svg" in result.output
