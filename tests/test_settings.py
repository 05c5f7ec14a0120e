"""Where settings come from, what is refused, and that secrets stay secret."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from processor.errors import SettingsError
from processor.layers import assigned
from processor.redaction import HIDDEN
from processor.settings import load, redacted, shown

CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_later_sources_win(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load().settings.slots == 2
    topology = {"slots": 3, "checkpoint_interval": "1s", "partitions": 8, "max_batch": 7}
    (folder / "kproc.toml").write_text('slots = 4\ncheckpoint_interval = "2s"\npartitions = 9\n')
    monkeypatch.setenv("KPROC_SLOTS", "5")
    monkeypatch.setenv("KPROC_CHECKPOINT_INTERVAL", "3s")
    settings, origins = load({"slots": 6, "bootstrap": None}, topology)
    assert (settings.slots, settings.checkpoint_interval) == (6, "3s")
    assert (settings.partitions, settings.max_batch) == (9, 7)
    assert origins == {
        "slots": "command line",
        "checkpoint_interval": "environment",
        "partitions": "kproc.toml",
        "max_batch": "topology",
    }


def test_a_duration_may_be_a_timedelta() -> None:
    given = {"checkpoint_interval": timedelta(seconds=2), "idle_timeout": timedelta(0)}
    settings = load({}, given).settings
    assert (settings.checkpoint_interval, settings.idle_timeout) == ("2000ms", "")
    with pytest.raises(SettingsError, match=r"checkpoint_interval \(topology\)"):
        load({}, {"checkpoint_interval": timedelta(0)})


def test_librdkafka_settings_meet_by_their_dotted_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "kproc.toml").write_text('[kafka]\nsecurity.protocol = "SSL"\n"client.id" = "a"\n')
    monkeypatch.setenv("KPROC_KAFKA__SASL_USERNAME", "ann")
    monkeypatch.setenv("KPROC_KAFKA__LOG_LEVEL", "3")
    monkeypatch.setenv("KPROC_CONSUMER", '{"fetch.wait.max.ms": 50}')
    settings, origins = load(assigned(["kafka.client.id=b"]))
    assert settings.kafka == {
        "security.protocol": "SSL",
        "client.id": "b",
        "sasl.username": "ann",
        "log_level": "3",
    }
    assert settings.consumer == {"fetch.wait.max.ms": 50}
    assert origins["kafka.security.protocol"] == "kproc.toml"
    assert origins["kafka.sasl.username"] == "environment"
    assert origins["kafka.client.id"] == "command line"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slot": 3}, r"slot \(command line\): no such setting; did you mean slots\?"),
        ({"slots": 0}, r"slots \(command line\): .*greater than or equal to 1"),
        (
            {"flush_interval": "soon"},
            r"flush_interval \(command line\): .*'soon' is not a duration",
        ),
        ({"guarantee": "twice"}, r"guarantee \(command line\): .*'exactly-once'"),
        ({"kafka": {"group.id": "x"}}, "group.id can't be set: it is the application's name"),
        ({"producer": {"transactional.id": "x"}}, "transactional.id can't be set"),
        (
            {"producer": {"acks": 1}},
            "acks can't be set: what a checkpoint commits has to be on all",
        ),
        ({"snapshot_interval": "5m"}, "need each other: set both or none"),
        ({"snapshot_url": "/x", "snapshot_interval": "0s"}, "need each other"),
        ({"snapshot_url": "/x", "snapshot_interval": "often"}, "'often' is not a duration"),
        (
            {"snapshot_url": "/x", "snapshot_interval": "5m", "state_store": "memory"},
            'snapshots need state_store = "rocksdb"',
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_origin(given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(given)


def test_files_that_cant_be_read(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"there is no file other\.toml"):
        load(file=Path("other.toml"))
    (folder / "kproc.toml").write_text("slots = = 3")
    with pytest.raises(SettingsError, match=r"kproc\.toml can't be read"):
        load()


def test_assignments() -> None:
    texts = ["slots=4", "kafka.sasl.password=a=b", "consumer.x=1", "kafka.y="]
    assert assigned(texts) == {
        "slots": "4",
        "kafka": {"sasl.password": "a=b", "y": ""},
        "consumer": {"x": "1"},
    }
    for wrong in ("slots", "=3", "kafka=3", "kafka.=3", "slots.x=3"):
        with pytest.raises(SettingsError, match=r"--set number 2 is not NAME=VALUE"):
            assigned(["slots=3", wrong])


SECRETS = (
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.passwrod",
)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("part", ["kafka", "consumer", "producer"])
def test_secrets_are_in_no_text(part: str, name: str) -> None:
    settings = load({part: {name: CANARY}}).settings
    assert getattr(settings, part)[name] == CANARY
    assert shown(settings)[part] == {name: HIDDEN}
    for text in (repr(settings), str(settings), f"{settings!r}", redacted(settings, f"a {CANARY}")):
        assert CANARY not in text
        assert HIDDEN in text


@pytest.mark.parametrize("url", [f"s3://me:{CANARY}@bucket/x", f"az://box/x?sig={CANARY}"])
def test_credentials_of_object_storage_belong_elsewhere(url: str) -> None:
    with pytest.raises(SettingsError, match="must not hold credentials") as caught:
        load({"snapshot_url": url, "snapshot_interval": "5m"})
    assert CANARY not in str(caught.value)


def test_credentials_in_urls_are_hidden() -> None:
    settings = load({"kafka": {"sasl.oauthbearer.x.url": f"https://me:{CANARY}@host/x"}}).settings
    assert CANARY not in repr(settings)
    assert CANARY not in redacted(settings, f"can't reach https://me:{CANARY}@host/x")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KPROC_KAFKA", f'{{"sasl.password": "{CANARY}"'),
        ("KPROC_KAFKA", CANARY),
        ("KPROC_KAFKA__GROUP_ID", CANARY),
    ],
)
def test_malformed_variables_are_not_repeated(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as error:
        load()
    assert CANARY not in str(error.value)


def test_malformed_assignments_and_files_are_not_repeated(folder: Path) -> None:
    with pytest.raises(SettingsError) as error:
        assigned([f"kafka.sasl.password:{CANARY}"])
    assert CANARY not in str(error.value)
    (folder / "kproc.toml").write_text(f'[kafka]\n"sasl.password" = {CANARY}\n')
    with pytest.raises(SettingsError) as error:
        load()
    assert CANARY not in str(error.value)


@pytest.mark.parametrize(
    "bootstrap", ["a", "a:9092", "10.0.0.1:1,b:2", "[::1]:9092", "SASL_SSL://b:1, c_d:2"]
)
def test_addresses_of_brokers(bootstrap: str) -> None:
    assert load({"bootstrap": bootstrap}).settings.bootstrap == bootstrap


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bootstrap": "http://u:canary-7f3a@broker:9092"}, "it is a URL: write host:port"),
        ({"bootstrap": "broker:9092,"}, "it is no address of a broker: write host:port"),
        ({"bootstrap": ""}, "it is no address of a broker"),
        ({"bootstrap": "broker:9092,broker:99999"}, "99999 is no port: there are 1 to 65535"),
        ({"bootstrap": "broker:0"}, "0 is no port"),
        ({"kafka": {"sasl.mechanism": "OAUTHBEARER"}}, "nothing gives a token: set"),
    ],
)
def test_what_can_never_connect_is_said_at_once(given: Mapping[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(given)
    assert message in str(caught.value)
    assert CANARY not in str(caught.value)


def test_tokens_of_an_identity_provider() -> None:
    given = {"sasl.mechanism": "OAUTHBEARER", "sasl.oauthbearer.method": "oidc"}
    assert load({"kafka": given}).settings.kafka == given


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, True),
        ({"stuck_after": ""}, True),
        ({"stuck_after": "5m"}, True),
        ({"stuck_after": "6m"}, False),
        ({"stuck_after": "6m", "consumer": {"max.poll.interval.ms": 400_000}}, True),
        ({"stuck_after": "6m", "kafka": {"max.poll.interval.ms": "400000"}}, True),
        ({"stuck_after": "50s", "consumer": {"max.poll.interval.ms": 45_000}}, False),
        ({"consumer": {"max.poll.interval.ms": 45_000}}, True),
    ],
)
def test_a_stuck_worker_is_seen_before_the_group_gives_it_up(
    given: Mapping[str, Any],
    allowed: bool,  # noqa: FBT001
) -> None:
    if allowed:
        assert load(given).settings.on_stuck == "restart"
    else:
        with pytest.raises(SettingsError, match=r"set consumer\.max\.poll\.interval\.ms"):
            load(given)


def test_the_token_of_http_is_a_secret() -> None:
    token = f"{CANARY}-{CANARY}"
    settings = load({"http_token": token}).settings
    assert CANARY not in repr(settings)
    assert shown(settings)["http_token"] == HIDDEN
    assert redacted(settings, f"it is {token}") == f"it is {HIDDEN}"
    assert shown(load().settings)["http_token"] == "", "where there is none, that may be seen"


@pytest.mark.parametrize("token", [CANARY, f"{CANARY} {CANARY}", f"{CANARY}-{CANARY}-\u00e9"])
def test_a_token_that_is_refused_is_not_repeated(token: str) -> None:
    with pytest.raises(SettingsError, match=r"http_token .*at least 16 characters") as refused:
        load({"http_token": token})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"http_certificate": "a"}, "need each other"),
        ({"http_key": "a"}, "need each other"),
        ({"http_client_ca": "a"}, "http_client_ca needs TLS"),
    ],
)
def test_tls_of_http_is_whole(given: Mapping[str, str], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        load(given)
