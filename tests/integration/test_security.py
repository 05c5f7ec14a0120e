"""A broker that wants TLS, a login and permissions: what works, and what is said if it doesn't.

Certificates are made for each run. The permissions are those of
docs/operations/security.md and no more.
"""

import contextlib
import time
import urllib.request
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives import serialization

from processor.errors import BrokerUnreachable, KprocError, PermissionDenied, SettingsError
from processor.kafka.clients import topics_of
from processor.local.embedded import EmbeddedKafka, free_ports
from processor.settings import load
from tests import forks, ledger
from tests.integration.conftest import App
from tests.integration.node_process import StartedNode

pytestmark = pytest.mark.kafka

CANARY = "canary-7f3a"
HOST = "127.0.0.1"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_kproc="{CANARY}";'


@dataclass(frozen=True)
class SafeKafka:
    """A broker with a listener for each kind of client, and the files that clients need."""

    open: str  # for the test itself, which may do everything
    sasl: str
    mtls: str
    folder: Path

    def scram(self, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
        """Settings of a client with a login, but for its password."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.folder / "ca.pem"),
            "sasl.mechanism": mechanism,
            "sasl.username": "kproc",
        }

    def certified(self) -> dict[str, str]:
        """Settings of a client with a certificate."""
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.folder / "ca.pem"),
            "ssl.certificate.location": str(self.folder / "client.pem"),
            "ssl.key.location": str(self.folder / "client.key"),
            "ssl.key.password": CANARY,
        }


def _key(cert: trustme.LeafCert, password: bytes | None = None) -> bytes:
    """As Java reads it, and everybody else."""
    key = serialization.load_pem_private_key(cert.private_key_pem.bytes(), None)
    cipher = serialization.BestAvailableEncryption(password) if password else None
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        serialization.Encoding.PEM, form, cipher or serialization.NoEncryption()
    )


def _certificates(folder: Path) -> None:
    authority = trustme.CA()
    server = authority.issue_cert(HOST)
    client = authority.issue_cert("kproc@example.org", common_name="kproc")

    def chain(cert: trustme.LeafCert) -> bytes:
        return b"".join(each.bytes() for each in cert.cert_chain_pems)

    (folder / "ca.pem").write_bytes(authority.cert_pem.bytes())
    (folder / "other-ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    (folder / "server.pem").write_bytes(_key(server) + chain(server))
    (folder / "client.pem").write_bytes(chain(client))
    (folder / "client.key").write_bytes(_key(client, CANARY.encode()))


def _broker(folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """The broker's settings."""
    outside = {name: port for name, port in ports.items() if name != "CONTROLLER"}

    def listeners(those: Mapping[str, int]) -> str:
        return ",".join(f"{name}://{HOST}:{port}" for name, port in those.items())

    return {
        "listeners": listeners(ports),
        "advertised.listeners": listeners(outside),
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,"
        + ",".join(f"{name}:{name}" for name in outside),
        "controller.quorum.voters": f"1@{HOST}:{ports['CONTROLLER']}",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(folder / "ca.pem"),
        "listener.name.ssl.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": SCRAM,
        "listener.name.sasl_ssl.plain.sasl.jaas.config": PLAIN,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }


def _add_user(kafka: str, name: str) -> None:
    how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    wanted = [UserScramCredentialUpsertion(name, how, CANARY.encode())]
    for done in ledger.admin(kafka).alter_user_scram_credentials(wanted).values():
        done.result(30)


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Generator[SafeKafka]:
    folder = tmp_path_factory.mktemp("safe-kafka")
    _certificates(folder)
    names = ("PLAINTEXT", "SASL_SSL", "SSL", "CONTROLLER")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    config = _broker(folder, ports)
    port = ports["PLAINTEXT"]
    with EmbeddedKafka.start(folder / "kafka", port=port, config=config) as broker:
        for user in ("kproc", "stranger"):
            _add_user(broker.bootstrap, user)
        sasl, mtls = (f"{HOST}:{ports[name]}" for name in ("SASL_SSL", "SSL"))
        yield SafeKafka(broker.bootstrap, sasl, mtls, folder)


def _permit(app: App) -> None:
    """The permissions that docs/operations/security.md names."""
    literal, prefixed = ResourcePatternType.LITERAL, ResourcePatternType.PREFIXED
    topic, group = ResourceType.TOPIC, ResourceType.GROUP
    own = ("CREATE", "READ", "WRITE", "DELETE", "DESCRIBE_CONFIGS")
    rules = [
        (topic, app.input, literal, ("READ",)),
        (topic, app.output, literal, ("WRITE",)),
        (topic, f"{app.name}-", prefixed, own),
        (group, app.name, literal, ("READ",)),
        (group, f"{app.name}-slots", literal, ("DESCRIBE",)),
        (ResourceType.TRANSACTIONAL_ID, f"{app.name}-", prefixed, ("WRITE",)),
    ]
    acls = [
        AclBinding(kind, name, form, "User:kproc", "*", AclOperation[each], AclPermissionType.ALLOW)
        for kind, name, form, operations in rules
        for each in operations
    ]
    for made in ledger.admin(app.kafka).create_acls(acls).values():
        made.result(30)


@pytest.fixture
def app(safe: SafeKafka, make_app: Callable[[str], App]) -> App:
    """An application of one stage after another, whose user may do what it has to."""
    made = make_app(safe.open)
    made.input, made.output = f"orders-{made.name}", f"totals-{made.name}"
    made.define(
        "topology.stream(IN).key_by('user', name='user').repartition(name='users')"
        ".group_by_key().count(name='counts').to(OUT)"
    )
    made.file.write_text(
        made.file.read_text()
        .replace(f"{made.name}-in", made.input)
        .replace(f"{made.name}-out", made.output)
    )
    ledger.create(safe.open, {made.input: 2, made.output: 2})
    _permit(made)
    return made


def _configure(app: App, bootstrap: str, settings: Mapping[str, str]) -> str:
    """Writes a kproc.toml; the option that names it."""
    lines = [f'bootstrap = "{bootstrap}"', "[kafka]"]
    lines += [f'{name} = "{value}"' for name, value in settings.items()]
    (app.folder / "kproc.toml").write_text("\n".join(lines))
    return f"--config={app.folder / 'kproc.toml'}"


def _kproc(app: App, *arguments: str) -> str:
    """What a command says, on whatever channel."""
    done = forks.run("processor.cli", *arguments, cwd=app.folder)
    return done.stdout + done.stderr


def _work(app: App, bootstrap: str, settings: Mapping[str, str]) -> list[str]:
    """Runs the application as long as it takes to count; all that is to be seen of it."""
    config = _configure(app, bootstrap, settings)
    app.write(*((n % 2, f"k{n}", f'{{"user": "u{n % 3}"}}') for n in range(30)))
    with app.start(config, kind=StartedNode, bootstrap=bootstrap, http=":0") as node:
        counts = {f"u{n}": b"10" for n in range(3)}
        while _latest(app) != counts:
            assert node.process.poll() is None, node.output
        (started,) = (line for line in node.logged if line["event"] == "http")
        with urllib.request.urlopen(f"http://{started['address']}/metrics", timeout=60) as answer:
            metrics = answer.read().decode()
        commands = "".join(str(each.cmdline()) for each in [node.process, *node.workers])
        assert node.stop() == 0
    return [node.output, metrics, commands]


def _latest(app: App) -> dict[str, bytes | None]:
    rows = ledger.read(app.kafka, app.output)
    return {key: values[-1] for key, values in ledger.by_key(rows).items()}


def test_a_login_over_tls(safe: SafeKafka, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPROC_KAFKA__SASL_PASSWORD", CANARY)
    seen = _work(app, safe.sasl, safe.scram())
    assert [text for text in seen if CANARY in text] == []


def test_a_plain_login_over_tls(safe: SafeKafka, app: App) -> None:
    login = {**safe.scram("PLAIN"), "sasl.password": CANARY, "bootstrap.servers": safe.sasl}
    assert {app.input, app.output} <= topics_of(login).keys()


def test_a_certificate_of_ones_own(safe: SafeKafka, app: App) -> None:
    seen = _work(app, safe.mtls, safe.certified())
    config = str(app.folder / "kproc.toml")
    status = _kproc(app, "status", app.file.name, "--config", config)
    assert app.name in status
    shown = _kproc(app, "config", app.file.name, "--config", config)
    assert "********" in shown
    assert [text for text in (*seen, status, shown) if CANARY in text] == []


def _refused(app: App, bootstrap: str, settings: Mapping[str, str], expect: int = 3) -> str:
    """The last line of a run that ends at once."""
    config = _configure(app, bootstrap, settings)
    node = app.run(config, expect=expect, bootstrap=bootstrap)
    assert CANARY not in node.output
    last = node.output.splitlines()[-1]
    print(last)
    return last


def test_a_wrong_password(safe: SafeKafka, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPROC_KAFKA__SASL_PASSWORD", f"{CANARY}-of-another")
    said = _refused(app, safe.sasl, safe.scram())
    assert "kproc: there is no safe connection with Kafka" in said
    assert "invalid credentials" in said
    assert "check sasl.mechanism, sasl.username and sasl.password in [kafka]" in said


def test_a_user_without_permissions(
    safe: SafeKafka, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KPROC_KAFKA__SASL_PASSWORD", CANARY)
    said = _refused(app, safe.sasl, {**safe.scram(), "sasl.username": "stranger"})
    assert "topics are missing, or may not be seen" in said
    assert app.input in said


def test_a_file_that_is_not_there(safe: SafeKafka, app: App) -> None:
    said = _refused(app, safe.mtls, {**safe.certified(), "ssl.ca.location": "none.pem"}, expect=2)
    assert "librdkafka refuses the settings in `kafka`" in said
    assert "ssl.ca.location failed" in said


WRONG: Mapping[str, tuple[str, dict[str, str | None], type[KprocError], str]] = {
    "an unknown authority": (
        "sasl",
        {"ssl.ca.location": "other-ca.pem"},
        PermissionDenied,
        # As librdkafka says it, or as OpenSSL does.
        "(could not be verified|verify failed).* check security.protocol, and the files in ssl",
    ),
    "another mechanism": (
        "sasl",
        {"sasl.mechanism": "SCRAM-SHA-256"},
        PermissionDenied,
        r"broker's supported mechanisms: SCRAM-SHA-512,PLAIN.* check sasl\.mechanism",
    ),
    "no certificate": (
        "mtls",
        {"ssl.certificate.location": None, "ssl.key.location": None, "ssl.key.password": None},
        PermissionDenied,
        r"certificate required.* ssl\.certificate\.location",
    ),
    "TLS where there is none": (
        "open",
        {},
        PermissionDenied,
        # Which of the two depends on whether the broker's answer or its end is seen first.
        r"(PLAINTEXT broker listener\?|closed by peer).* check security\.protocol",
    ),
    "no TLS where there is": (
        "mtls",
        {"security.protocol": "PLAINTEXT"},
        BrokerUnreachable,
        r"check the address, security\.protocol, and that the broker runs",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_else_may_be_wrong(what: str, safe: SafeKafka) -> None:
    where, changes, expected, said = WRONG[what]
    right = {**safe.scram(), "sasl.password": CANARY} if where == "sasl" else safe.certified()
    config: dict[str, Any] = {"bootstrap.servers": getattr(safe, where), **right}
    for name, value in changes.items():
        config.pop(name)
        if value is not None:
            location = str(safe.folder / value) if name.endswith("location") else value
            config[name] = location
    with pytest.raises(expected, match=said) as caught:
        _ask_until_it_is_known(config, expected)
    assert CANARY not in str(caught.value)


def _ask_until_it_is_known(config: dict[str, Any], expected: type[KprocError]) -> None:
    """Asks again while there was no answer within the time that a question takes."""
    deadline = time.monotonic() + 120
    while expected is PermissionDenied and time.monotonic() < deadline:
        with contextlib.suppress(BrokerUnreachable):
            topics_of(config, timeout=3)
    topics_of(config, timeout=3)


def test_a_password_that_is_malformed_toml(safe: SafeKafka, app: App) -> None:
    """The file's content is not repeated."""
    file = app.folder / "kproc.toml"
    file.write_text(f'[kafka]\nsasl.password = "{CANARY}\n')
    with pytest.raises(SettingsError) as caught, contextlib.chdir(app.folder):
        load()
    assert CANARY not in str(caught.value)
