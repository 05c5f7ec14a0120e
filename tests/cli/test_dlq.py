"""`kproc dlq` as a user runs it, on letters that a real run has left."""

import json
from collections.abc import Callable

import pytest
from typer.testing import CliRunner, Result

from processor.cli.dlq import app as dlq
from processor.errors import TopicMismatch, UsageError
from tests.integration.conftest import App, app, make_app  # noqa: F401 - fixtures

pytestmark = pytest.mark.kafka
Run = Callable[..., Result]

TOPOLOGY = """
def check(value):
    return 10 / value["n"]

topology.stream(IN).map_values(check, name="check").to(OUT)
"""
FIXED = TOPOLOGY.replace('10 / value["n"]', '10 / (value.get("n") or 1)')


@pytest.fixture
def run(app: App) -> Run:  # noqa: F811
    def call(*words: str, expect: int = 0) -> Result:
        where = [str(app.file), "--bootstrap", app.kafka]
        result = CliRunner().invoke(dlq, [words[0], *where, *words[1:]])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == expect, result.output
        return result

    return call


@pytest.fixture
def letters(app: App) -> App:  # noqa: F811
    app.define(TOPOLOGY)
    app.topics("in", "out")
    own = (("trace", b"abc"),)
    app.write(
        (0, "a", '{"n": 2}', 1000, own),
        (0, "a", '{"n": 0}', 86_400_000, own),
        (1, "b", "{nope", 90_000_000),
        (1, "c", "{}", 95_000_000),
    )
    app.run()
    return app


def test_from_letters_to_results(letters: App, run: Run) -> None:
    found = [json.loads(line) for line in run("list", "--json").stdout.splitlines()]
    assert {(each["step"], each["reason"]): each["count"] for each in found} == {
        ("check", "function"): 2,
        (f"source-{letters.input}", "decode"): 1,
    }
    table = run("list", "--by", "day,error").stdout
    assert "1970-01-02" in table
    assert "ZeroDivisionError" in table
    (shown,) = run("show", "--key", "a", "--json").stdout.splitlines()
    letter = json.loads(shown)
    assert letter["value"] == {"n": 0}
    assert letter["headers"] == [["trace", "abc"]]
    assert (letter["topic"], letter["partition"], letter["offset"]) == (letters.input, 0, 1)
    assert "too many values" not in run("show").stdout
    assert "value  {nope" in run("show", "--reason", "decode").stdout

    assert (
        f"2 dead letters to {letters.input}" in run("replay", "--step", "check", "--dry-run").stderr
    )
    with pytest.raises(UsageError, match="--yes"):
        run("replay")
    assert len(letters.read("in")) == 4
    letters.define(FIXED)
    assert "2 dead letters are replayed" in run("replay", "--step", "check", "--yes").stderr
    letters.run()
    assert sorted(row.value or b"" for row in letters.read()) == [b"10.0", b"10.0", b"5.0"]
    assert "nothing to replay" in run("replay", "--step", "check", "--yes").stderr
    (group,) = [
        each
        for each in map(json.loads, run("list", "--json").stdout.splitlines())
        if each["step"] == "check"
    ]
    assert (group["count"], group["replayed"]) == (2, 2)
    assert "replayed" in run("show", "--step", "check").stdout


def test_wrong_options(letters: App, run: Run) -> None:
    with pytest.raises(UsageError, match="--by knows step, reason"):
        run("list", "--by", "colour")
    with pytest.raises(UsageError, match="--since yesterday is no time"):
        run("list", "--since", "yesterday")
    with pytest.raises(UsageError, match="--letter x is not OFFSET"):
        run("show", "--letter", "x")
    with pytest.raises(UsageError, match="no topic nowhere"):
        run("replay", "--to", "nowhere")
    with pytest.raises(UsageError, match="or --application"):
        CliRunner().invoke(dlq, ["list"], catch_exceptions=False)
    with pytest.raises(TopicMismatch, match="there is no topic nobody-dead-letters"):
        CliRunner().invoke(
            dlq, ["list", "-a", "nobody", "--bootstrap", letters.kafka], catch_exceptions=False
        )
    assert "no such dead letters" in run("list", "--since", "2020-01-01").stderr
