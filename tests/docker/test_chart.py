"""The Helm chart: its values against their schema, and what it renders against Kubernetes' own.

Rendering needs `helm`, on the PATH or named by KPROC_HELM; the long suite builds one with `go`.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import typer
import yaml

from processor.cli.main import app
from processor.durations import milliseconds
from processor.settings import Settings

CHART = Path("docker/chart").absolute()
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
VERSION = tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
VERSIONS = ("1.29", "1.33")
HELM = "helm.sh/helm/v3/cmd/helm@v3.18.6"
CUSTOM = {"ScaledObject", "ServiceMonitor"}

EVERYTHING: dict[str, Any] = {
    "topology": "orders.py:topology",
    "files": {"orders.py": "from processor import Topology\ntopology = Topology('orders')\n"},
    "image": {"repository": "registry.example.org/kproc", "digest": f"sha256:{'0' * 64}"},
    "imagePullSecrets": [{"name": "registry"}],
    "config": {
        "bootstrap": "kafka-1:9093,kafka-2:9093",
        "slots": 8,
        "block_cache_bytes": 268435456,
        "node_weight": 1.5,
        "create_topics": False,
        "on_bad_record": "skip",
        "kafka": {"security.protocol": "SASL_SSL", "socket.timeout.ms": 3000},
        "producer": {"compression.type": 'zstd "and" <so>'},
    },
    "secrets": [
        {"setting": "kafka.sasl.password", "secret": "orders-kafka", "key": "password"},
        {"setting": "bootstrap", "secret": "orders-kafka", "key": "servers"},
    ],
    "tlsSecret": "orders-tls",
    "persistence": {"storageClass": "fast"},
    "nodeSelector": {"disk": "nvme"},
    "tolerations": [{"key": "stream", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "podAnnotations": {"example.org/owner": "orders"},
    "extraEnv": [{"name": "TZ", "value": "UTC"}],
    "extraVolumes": [{"name": "model", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "model", "mountPath": "/model"}],
    "autoscale": {"enabled": True, "max": 8, "options": ["--window=10m"]},
    "keda": {"enabled": True},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True, "metricsFrom": [{"podSelector": {}}]},
}


@pytest.fixture(scope="module")
def helm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program; the long suite gets it where it is not there."""
    found = os.environ.get("KPROC_HELM") or shutil.which("helm")
    if found:
        return found
    if not os.environ.get("KPROC_LONG") or not shutil.which("go"):
        pytest.skip("needs helm, on the PATH or named by KPROC_HELM")
    folder = tmp_path_factory.mktemp("helm")
    env = {**os.environ, "GOBIN": str(folder)}
    subprocess.run(["go", "install", HELM], env=env, check=True, timeout=1800)
    return str(folder / "helm")


def run_helm(helm: str, folder: Path, values: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    options = ["--namespace", "streams", "--kube-version", "1.33", "--values", str(file)]
    return subprocess.run(
        [helm, "template", "orders", str(CHART), *options],
        capture_output=True,
        text=True,
        check=False,
    )


Render = Callable[[dict[str, Any]], dict[tuple[str, str], dict[str, Any]]]


@pytest.fixture
def render(helm: str, tmp_path: Path) -> Render:
    """What the chart makes of values: manifests by kind and name, each valid to Kubernetes."""

    def made(values: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
        done = run_helm(helm, tmp_path, values)
        assert done.returncode == 0, done.stderr
        manifests = [each for each in yaml.safe_load_all(done.stdout) if each]
        for manifest in manifests:
            for version in VERSIONS:
                if manifest["kind"] not in CUSTOM:
                    kubernetes_validate.validate(manifest, version, strict=True)
        return {(each["kind"], each["metadata"]["name"]): each for each in manifests}

    return made


def pod(manifests: dict[tuple[str, str], dict[str, Any]], kind: str = "StatefulSet") -> Any:
    (found,) = (each for (its_kind, _), each in manifests.items() if its_kind == kind)
    return found["spec"]["template"]["spec"]


def settings(manifests: dict[tuple[str, str], dict[str, Any]]) -> Settings:
    """What a node makes of its kproc.toml."""
    return Settings(**tomllib.loads(manifests["ConfigMap", "orders"]["data"]["kproc.toml"]))


def test_the_schema_takes_the_defaults_and_all_that_is_there() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(DEFAULTS, SCHEMA)
    jsonschema.validate(EVERYTHING, SCHEMA)
    assert DEFAULTS.keys() | {"global"} == SCHEMA["properties"].keys()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replica": 3}, "replica"),
    "a count as text": ({"replicas": "2"}, "replicas"),
    "a setting of the chart's own": ({"config": {"bootstrap": "a:1", "http": ":1"}}, "http"),
    "a secret in the open": (
        {"config": {"bootstrap": "a:1", "kafka": {"sasl.password": "x"}}},
        "sasl.password",
    ),
    "no slots": ({"config": {"bootstrap": "a:1", "slots": 0}}, "slots"),
    "a topology that is no file": ({"topology": "orders"}, "topology"),
    "a size without digits": ({"persistence": {"size": "much"}}, "size"),
    "a wrong policy": ({"image": {"repository": "a", "pullPolicy": "Sometimes"}}, "pullPolicy"),
    "half a secret": ({"secrets": [{"setting": "kafka.sasl.password"}]}, "secrets"),
    "an address without a scheme": ({"keda": {"prometheus": "prometheus:9090"}}, "prometheus"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_values_are_refused(what: str) -> None:
    values, where = WRONG[what]
    with pytest.raises(jsonschema.ValidationError) as caught:
        jsonschema.validate(values, SCHEMA)
    assert where in f"{caught.value.json_path} {caught.value.message}"


@pytest.mark.parametrize("what", WRONG)
def test_helm_refuses_wrong_values(what: str, helm: str, tmp_path: Path) -> None:
    values, where = WRONG[what]
    done = run_helm(helm, tmp_path, values)
    assert done.returncode != 0
    assert "don't meet the specifications of the schema" in done.stderr
    assert where in done.stderr


def test_defaults_outlast_a_drain() -> None:
    """A pod is killed after its grace period, whatever it still has to do."""
    own = Settings()  # pyright: ignore[reportCallIssue] - all have defaults
    needed = milliseconds(own.drain_timeout, "") + milliseconds(own.shutdown_timeout, "")
    assert DEFAULTS["terminationGracePeriodSeconds"] * 1000 >= needed + 5_000


def test_what_is_rendered_by_default(render: Render) -> None:
    made = render({})
    assert {kind for kind, _ in made} == {
        *("ConfigMap", "PodDisruptionBudget", "Service", "StatefulSet")
    }
    assert settings(made).backup_mode == "primary-backup"
    assert made["StatefulSet", "orders"]["spec"]["replicas"] == 2
    assert made["PodDisruptionBudget", "orders"]["spec"]["maxUnavailable"] == 1
    (claim,) = made["StatefulSet", "orders"]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
    (container,) = pod(made)["containers"]
    assert container["args"][:2] == ["run", "topology.py"]
    assert container["image"] == f"kproc:{VERSION}"
    for probe, path in (
        ("startup", "/healthz"),
        ("liveness", "/healthz"),
        ("readiness", "/readyz"),
    ):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
    zone = {each["name"]: each for each in container["env"]}["KPROC_NODE_ZONE"]
    field = zone["valueFrom"]["fieldRef"]["fieldPath"]
    assert field == "metadata.labels['topology.kubernetes.io/zone']"


def test_all_that_can_be_asked_for(render: Render) -> None:
    made = render(EVERYTHING)
    assert {kind for kind, _ in made} >= {"Deployment", "NetworkPolicy", *CUSTOM}
    assert made["StatefulSet", "orders"]["spec"]["replicas"] == 1, "where a new release begins"
    own = settings(made)
    assert (own.slots, own.block_cache_bytes, own.node_weight) == (8, 268435456, 1.5)
    assert own.create_topics is False
    assert own.kafka == {"security.protocol": "SASL_SSL", "socket.timeout.ms": 3000}
    assert own.producer == {"compression.type": 'zstd "and" <so>'}
    for kind in ("StatefulSet", "Deployment"):
        for each in ("nodeSelector", "tolerations", "affinity", "priorityClassName"):
            assert pod(made, kind)[each] == EVERYTHING[each]
        (container,) = pod(made, kind)["containers"]
        env = {each["name"]: each for each in container["env"]}
        secret = {"name": "orders-kafka", "key": "password"}
        assert env["KPROC_KAFKA__SASL_PASSWORD"]["valueFrom"]["secretKeyRef"] == secret
        assert env["KPROC_BOOTSTRAP"]["valueFrom"]["secretKeyRef"]["key"] == "servers"
        assert container["image"] == f"registry.example.org/kproc@sha256:{'0' * 64}"
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        assert mounts >= {
            "/etc/kproc/kproc.toml",
            "/etc/kproc/tls",
            "/topologies",
            "/tmp",
            "/model",
        }
    scaled = made["ScaledObject", "orders"]["spec"]
    behavior = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["query"] == (
        'max(kproc_recommended_nodes{service="orders-autoscale",namespace="streams"})'
    )
    assert set(made["ConfigMap", "orders-topologies"]["data"]) == {"orders.py"}


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
def test_nothing_may_do_more_than_it_must(kind: str, render: Render) -> None:
    """Pod Security Standards, `restricted`."""
    spec = pod(render(EVERYTHING), kind)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]


def test_selectors_find_their_pods_and_no_others(render: Render) -> None:
    made = render(EVERYTHING)
    for kind, name in (("StatefulSet", "orders"), ("Deployment", "orders-autoscale")):
        labels = made[kind, name]["spec"]["template"]["metadata"]["labels"]
        selected = made[kind, name]["spec"]["selector"]["matchLabels"].items()
        assert selected <= labels.items()
        assert made["Service", name]["spec"]["selector"].items() <= labels.items()
    nodes = made["Service", "orders"]["spec"]["selector"].items()
    others = made["Deployment", "orders-autoscale"]["spec"]["template"]["metadata"]["labels"]
    assert not nodes <= others.items()


def test_the_autoscaler_sets_replicas_itself(render: Render) -> None:
    made = render({"autoscale": {"enabled": True, "actuator": "kubernetes", "min": 2, "max": 6}})
    assert made["StatefulSet", "orders"]["spec"]["replicas"] == 2
    (rule,) = made["Role", "orders-autoscale"]["rules"]
    assert rule["resources"] == ["statefulsets/scale"]
    assert rule["resourceNames"] == ["orders"]
    assert rule["verbs"] == ["get", "patch"]
    (subject,) = made["RoleBinding", "orders-autoscale"]["subjects"]
    assert (subject["name"], subject["namespace"]) == ("orders-autoscale", "streams")
    spec = pod(made, "Deployment")
    assert spec["serviceAccountName"] == "orders-autoscale"
    (container,) = spec["containers"]
    assert {"--actuator=kubernetes", "--stateful-set=orders", "--max=6"} <= set(container["args"])


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
def test_commands_and_their_options_exist(kind: str, render: Render) -> None:
    (container,) = pod(render(EVERYTHING), kind)["containers"]
    command, *arguments = container["args"]
    click = typer.main.get_command(app)
    assert isinstance(click, typer.core.TyperGroup)
    click.commands[command].make_context(command, arguments)


def test_a_token_and_tls_for_http(render: Render) -> None:
    secret = {"setting": "http_token", "secret": "orders-http", "key": "token"}
    tls = {"ca": {"secret": {"name": "orders-tls", "key": "ca.crt"}}}
    files = {f"http_{name}": f"/etc/kproc/tls/tls.{name}" for name in ("certificate", "key")}
    made = render(
        {
            "secrets": [secret],
            "config": {"bootstrap": "kafka:9092", **files},
            "serviceMonitor": {"enabled": True, "tlsConfig": tls},
        }
    )
    (endpoint,) = made["ServiceMonitor", "orders"]["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "orders-http", "key": "token"}}
    assert (endpoint["scheme"], endpoint["tlsConfig"]) == ("https", tls)
    (container,) = pod(made)["containers"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    env = {each["name"]: each for each in container["env"]}
    assert env["KPROC_HTTP_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "orders-http"


def test_a_zone_that_is_given_and_no_disk(render: Render) -> None:
    made = render({"zone": "east", "persistence": {"enabled": False}})
    (container,) = pod(made)["containers"]
    assert {"name": "KPROC_NODE_ZONE", "value": "east"} in container["env"]
    assert {"name": "state", "emptyDir": {}} in pod(made)["volumes"]
    assert "volumeClaimTemplates" not in made["StatefulSet", "orders"]["spec"]


@pytest.mark.parametrize(
    ("kind", "name"), [("StatefulSet", "orders"), ("Deployment", "orders-autoscale")]
)
def test_a_change_of_settings_is_a_rollout(kind: str, name: str, render: Render) -> None:
    def checksum(values: dict[str, Any]) -> str:
        spec = render({"autoscale": {"enabled": True}, **values})[kind, name]["spec"]["template"]
        return spec["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) == checksum({"replicas": 5})
    assert checksum({}) != checksum({"config": {"slots": 5}})
    assert checksum({}) != checksum({"files": {"topology.py": "x"}})


def test_keda_without_a_figure_to_follow(helm: str, tmp_path: Path) -> None:
    done = run_helm(helm, tmp_path, {"keda": {"enabled": True}})
    assert done.returncode != 0
    assert "keda.enabled needs autoscale.enabled" in done.stderr


def test_lint(helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert not re.search(r"\[(WARNING|ERROR)\]", done.stdout)


@pytest.mark.long
def test_it_is_rendered_in_the_long_suite(render: Render) -> None:
    """Here helm is built if it has to be, so that all of this runs at least there."""
    assert render(EVERYTHING)
