"""What deployments are described by: the manifests, the units, the image. What they name exists, and they agree.

No cluster and no engine run here. `kubernetes-validate`, where it is installed, holds the manifests against the schemas.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from gunicorn.util import load_class

from api.app import create_app
from api.server import Worker
from settings import Settings
from tests.conftest import Database
from tests.test_compose import find_command
from workers.queues import enroll, sync

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def objects() -> list[dict[str, Any]]:
    """Return every object that the two kustomizations list."""
    found = []
    for folder in (KUBERNETES, KUBERNETES / "migrate"):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert set(listed) == files, "every file is listed"
        for name in listed:
            found += [item for item in yaml.safe_load_all((folder / name).read_text()) if item]
    return found


OBJECTS = objects()
WORKLOADS = [item for item in OBJECTS if item["kind"] in ("Deployment", "Job")]
NAMES = [item["metadata"]["name"] for item in WORKLOADS]


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    [container] = pod_of(workload)["containers"]
    found: dict[str, Any] = container
    return found


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [item for item in OBJECTS if item["kind"] == kind]


def named(name: str) -> dict[str, Any]:
    [found] = [item for item in WORKLOADS if item["metadata"]["name"] == name]
    return found


def assert_exists(command: list[str]) -> None:
    """Check that a command calls something of ours with options that it has."""
    match [Path(command[0]).name, *command[1:]]:
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module) is not None
        case ["python", "-c", code]:
            compile(code, "probe", "exec")
        case ["celery", "-A", "workers", ("worker" | "beat" | "flower"), *_]:
            pass
        case ["gunicorn", app, *options]:
            module, call = app.split(":")
            assert callable(getattr(importlib.import_module(module), call.removesuffix("()")))
            assert "--no-control-socket" in options
            serving = options[options.index("--worker-class") + 1]
            assert load_class(serving) is Worker
        case ["usher", *words]:
            assert find_command(words) is not None
        case _:
            pytest.fail(f"nobody knows {command}")


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_runs_something_that_exists_and_is_looked_after(name: str) -> None:
    container = container_of(named(name))
    assert_exists(container["command"])
    probes = [value for key, value in container.items() if key.endswith("Probe")]
    assert probes or name == "migrate"
    for probe in probes:
        if "exec" in probe:
            assert_exists(probe["exec"]["command"])
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", NAMES)
def test_every_pod_is_unprivileged_and_takes_its_secrets_by_reference(name: str) -> None:
    pod, container = pod_of(named(name)), container_of(named(name))
    user = re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1])
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/data"}
    assert container["envFrom"] == [{"configMapRef": {"name": "usher"}}, {"secretRef": {"name": "usher"}}]
    assert "env" not in container


def test_settings_exist_and_no_secret_is_among_them() -> None:
    assert of_kind("Secret") == []
    [settings] = of_kind("ConfigMap")
    fields = {name.upper(): field for name, field in Settings.model_fields.items()}
    for name in settings["data"]:
        assert name in fields
        assert "Secret" not in str(fields[name].annotation), f"{name} is a secret"


def test_what_a_pod_is_given_to_end_fits_what_it_does_then() -> None:
    [settings] = of_kind("ConfigMap")
    lease = float(settings["data"]["JOB_LEASE"])
    for name in ("worker", "worker-hsi"):
        assert pod_of(named(name))["terminationGracePeriodSeconds"] >= 1.5 * lease
    api = container_of(named("api"))
    graceful = int(api["command"][api["command"].index("--graceful-timeout") + 1])
    before = api["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(named("api"))["terminationGracePeriodSeconds"] >= before + graceful + 5
    workers = (ROOT / "deploy/systemd/usher-worker@.service").read_text()
    assert (
        int(re.findall(r"TimeoutStopSec=(\d+)", workers)[0])
        >= 1.5 * Settings.model_fields["job_lease"].default
    )


def test_every_queue_is_read_by_somebody() -> None:
    commands = {name: container_of(named(name))["command"] for name in NAMES if name.startswith("worker")}
    left_out = commands.pop("worker")
    read: set[str] = set()
    for command in commands.values():
        read |= set(command[command.index("-Q") + 1].split(","))
    assert set(left_out[left_out.index("-X") + 1].split(",")) == read
    partners = {name.split(".")[1] for name in read}
    assert read == {queue(partner) for partner in partners for queue in (enroll, sync)}
    assert partners <= set(of_kind("ConfigMap")[0]["data"]["PARTNERS"].split(","))


def test_what_selects_pods_selects_pods() -> None:
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in WORKLOADS]
    deployments = {item["metadata"]["name"] for item in of_kind("Deployment")}
    for item in OBJECTS:
        selector = item["spec"].get("podSelector", item["spec"].get("selector")) if "spec" in item else None
        if selector:
            wanted = selector.get("matchLabels", selector)
            assert any(wanted.items() <= label.items() for label in labels), item["metadata"]["name"]
        target = item.get("spec", {}).get("scaleTargetRef")
        if target:
            assert target["name"] in deployments
            assert "replicas" not in named(target["name"])["spec"], "who scales decides"
    guarded = {item["metadata"]["name"] for item in of_kind("PodDisruptionBudget")}
    assert guarded == deployments - {"beat", "flower"}


def test_flower_is_reached_by_nobody() -> None:
    assert "--address=127.0.0.1" in container_of(named("flower"))["command"]
    for kind in ("Service", "Ingress"):
        assert "flower" not in str(of_kind(kind))
    [nobody] = [item for item in of_kind("NetworkPolicy") if not item["spec"]["podSelector"]]
    assert nobody["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    allowed = [item for item in of_kind("NetworkPolicy") if item["spec"].get("ingress")]
    assert [item["spec"]["podSelector"]["matchLabels"]["component"] for item in allowed] == ["api"]


@pytest.fixture
def client(database: Database) -> FlaskClient:
    return create_app().test_client()


def test_probes_and_the_scalers_gauge_are_answered(client: FlaskClient) -> None:
    api = container_of(named("api"))
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert client.get(api[probe]["httpGet"]["path"]).status_code == 200
    [scaled] = of_kind("ScaledObject")
    [gauge] = re.findall(r"usher_\w+", scaled["spec"]["triggers"][0]["metadata"]["query"])
    assert re.search(rf"^{gauge} ", client.get("/metrics").text, re.MULTILINE)


def test_the_schemas_of_kubernetes_take_the_manifests() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for item in OBJECTS:
        if item["kind"] not in ("ScaledObject",):
            validator.validate(item, "1.34", strict=True)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_every_unit_runs_something_that_exists(path: Path) -> None:
    text = path.read_text()
    [command] = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert_exists(shlex.split(command))
    for line in ("User=usher", "NoNewPrivileges=true", "ProtectSystem=strict", "Restart=always"):
        assert f"\n{line}\n" in text
    if shutil.which("systemd-analyze"):
        done = subprocess.run(
            ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, timeout=30, check=False
        )
        said = [
            line for line in done.stderr.splitlines() if "is not executable" not in line and path.stem in line
        ]
        assert said == []


def test_the_image_copies_what_exists_and_installs_what_is_locked() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        words = line.split()
        if words[0].startswith("--from="):
            assert words[0].removeprefix("--from=") in stages
        else:
            assert all(
                (ROOT / source).exists() and (source == "." or source in kept) for source in words[:-1]
            )
    for lock in re.findall(r"-r (\S+\.lock)", DOCKERFILE):
        assert lock in kept
        assert "--hash=sha256:" in (ROOT / lock).read_text()
    for base in re.findall(r"^FROM (\S+) AS", DOCKERFILE, re.MULTILINE):
        assert base in stages or re.fullmatch(r"python:3\.1[1-9]-slim", base)
