"""What is said where no broker answers."""

import pytest

from processor.errors import BrokerUnreachable
from processor.kafka.clients import topics_of
from processor.local.embedded import free_port


@pytest.mark.parametrize(
    ("host", "why"), [("nosuchhost.invalid", "resolve"), ("127.0.0.1", "refused")]
)
def test_the_cause_is_in_the_message(host: str, why: str) -> None:
    with pytest.raises(BrokerUnreachable, match=why):
        topics_of({"bootstrap.servers": f"{host}:{free_port()}"}, timeout=3)
