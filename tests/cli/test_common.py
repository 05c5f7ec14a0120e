"""The settings that commands have in common: options, assignments, and whose application it is."""

from pathlib import Path

import pytest

from processor.cli.common import name_with_settings, redacting, settings_here
from processor.errors import KprocError, UsageError

TOPOLOGY = """
from processor import Topology

topology = Topology("orders", settings={"slots": 3})
topology.stream("in").to("out")
"""


def test_an_option_goes_before_an_assignment_and_leaves_it_alone_where_it_is_not_given() -> None:
    sets = ["bootstrap=here:1"]
    assert settings_here(None, None, sets, bootstrap="there:2").bootstrap == "there:2"
    assert settings_here(None, None, sets, bootstrap=None).bootstrap == "here:1"


def test_an_application_is_given_by_its_topology_or_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "orders.py"
    file.write_text(TOPOLOGY)
    name, settings = name_with_settings(str(file), None, None, None)
    assert (name, settings.slots) == ("orders", 3)
    name, settings = name_with_settings(None, "orders", None, None)
    assert (name, settings.slots) == ("orders", 2)
    for both in ((None, None), (str(file), "orders")):
        with pytest.raises(UsageError, match="Give the topology's file, or --application"):
            name_with_settings(*both, None, None)


def test_secrets_are_hidden_in_errors_that_pass() -> None:
    settings = settings_here(None, None, ["kafka.sasl.password=canary"])
    with pytest.raises(KprocError) as caught, redacting(settings):
        raise KprocError("the password canary is wrong")
    assert str(caught.value) == "the password ******** is wrong"
