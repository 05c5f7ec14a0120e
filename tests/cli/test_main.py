"""How every command ends, whatever ends it."""

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from processor.cli.main import main

APP = "from processor import Topology\ntopology = Topology('app')\ntopology.stream('in')"


@pytest.mark.parametrize(
    ("cause", "ends"), [(KeyboardInterrupt(), SystemExit), (ValueError(), SystemError)]
)
def test_a_signal_that_the_client_reports_in_its_own_way(
    cause: BaseException,
    ends: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise SystemError("returned a result with an exception set") from cause

    monkeypatch.setattr(AdminClient, "list_topics", fails)
    file = tmp_path / "app.py"
    file.write_text(APP)
    with pytest.raises(ends) as ended:
        main(["plan", str(file), "--bootstrap", "127.0.0.1:1"])
    assert not isinstance(ended.value, SystemExit) or ended.value.code == 130
