"""The report of a benchmark: one HTML file with charts, which needs no network."""

from html import escape
from importlib import import_module
from typing import Any

from processor.bench.figures import Figures, Latency, rows

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }}
th {{ text-align: left; font-weight: 500; padding-right: 2em }}
td {{ font-variant-numeric: tabular-nums }}
</style>
<h1>{title}</h1>
<table>{rows}</table>
{charts}
</html>
"""
_STEPS = 200


def page(figures: Figures) -> str:
    """The report.

    Args:
        figures: What was measured.
    """
    title = escape(f"Benchmark of {figures.application}")
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows(figures)
    )
    charts = _charts(figures).to_html(full_html=False, include_plotlyjs=True)
    return _PAGE.format(title=title, rows=table, charts=charts)


def _charts(figures: Figures) -> Any:
    backlog, latency = figures.backlog, figures.latency
    titles = ["Records a second", "Busy processors", "Memory, MB", "Latency, ms, by percentile"]
    found: Any = import_module("plotly.subplots").make_subplots(
        2, 2, subplot_titles=titles[: 4 if latency else 3]
    )
    times = [sample.at for sample in backlog.samples]
    memory = [sample.memory / 1e6 for sample in backlog.samples]
    lines = [backlog.rates(), backlog.cores(), list(zip(times, memory, strict=True))]
    for number, line in enumerate(lines):
        _draw(found, number, line)
        found.update_xaxes(title="seconds since the start", row=number // 2 + 1, col=number % 2 + 1)
    if latency is not None:
        _draw(found, len(lines), _by_percentile(latency))
        found.update_xaxes(title="percent of the results", row=2, col=2)
    return found.update_layout(height=800, showlegend=False, template="plotly_white")


def _draw(found: Any, number: int, line: list[tuple[float, float]]) -> None:
    across, up = zip(*line, strict=True)
    drawn = import_module("plotly.graph_objects").Scatter(x=across, y=up, mode="lines")
    found.add_trace(drawn, row=number // 2 + 1, col=number % 2 + 1)
    found.update_yaxes(rangemode="tozero", row=number // 2 + 1, col=number % 2 + 1)


def _by_percentile(latency: Latency) -> list[tuple[float, float]]:
    percents = [100 * step / _STEPS for step in range(_STEPS + 1)]
    return [(percent, latency.percentile(percent)) for percent in percents]
