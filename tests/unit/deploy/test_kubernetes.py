"""The Kubernetes manifests cannot be applied here, so they are read: kinds, labels, references, rights and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.settings import Settings
from scheduler.processes import STOP_SECONDS
from tests.commands import parse, parse_script

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"
#: The API versions in which a current cluster (and KEDA 2) knows these kinds.
VERSIONS = {
    "Namespace": "v1", "Secret": "v1", "Service": "v1", "PersistentVolumeClaim": "v1", "StatefulSet": "apps/v1",
    "Deployment": "apps/v1", "Job": "batch/v1", "NetworkPolicy": "networking.k8s.io/v1",
    "ScaledObject": "keda.sh/v1alpha1", "TriggerAuthentication": "keda.sh/v1alpha1",
}  # fmt: skip
Document = dict[str, Any]


def kustomization() -> Document:
    return yaml.safe_load((FOLDER / "kustomization.yaml").read_text())


def documents() -> list[Document]:
    """Everything that kustomize would put together, the example in place of the secrets."""
    names = [name.replace("secrets.yaml", "secrets.example.yaml") for name in kustomization()["resources"]]
    return [found for name in names for found in yaml.safe_load_all((FOLDER / name).read_text())]


DOCUMENTS = documents()


def of(kind: str) -> dict[str, Document]:
    return {found["metadata"]["name"]: found for found in DOCUMENTS if found["kind"] == kind}


WORKLOADS = {**of("StatefulSet"), **of("Deployment"), **of("Job")}


def pod(name: str) -> Document:
    return WORKLOADS[name]["spec"]["template"]["spec"]


def containers(name: str) -> list[Document]:
    return [*pod(name).get("initContainers", ()), *pod(name)["containers"]]


def everything() -> Iterator[tuple[str, Document]]:
    for name in WORKLOADS:
        for container in containers(name):
            yield name, container


def test_every_file_is_used_and_every_kind_is_known() -> None:
    listed = {name.replace("secrets.yaml", "secrets.example.yaml") for name in kustomization()["resources"]}
    assert {path.name for path in FOLDER.glob("*.yaml")} == listed | {"kustomization.yaml"}
    assert all(found["apiVersion"] == VERSIONS[found["kind"]] for found in DOCUMENTS)
    assert len({(found["kind"], found["metadata"]["name"]) for found in DOCUMENTS}) == len(DOCUMENTS)
    assert kustomization()["namespace"] in of("Namespace")


def test_the_secrets_are_kept_out_of_git_and_the_example_is_empty() -> None:
    assert "deploy/kubernetes/secrets.yaml" in (FOLDER.parents[1] / ".gitignore").read_text().split()
    assert len(of("Secret")) == 4
    assert not any(value for secret in of("Secret").values() for value in secret["stringData"].values())
    for _, container in everything():
        for variable in container.get("env", ()):
            assert "value" not in variable or not re.search(r"PASSWORD|URL", variable["name"])


def test_selectors_match_their_pods() -> None:
    labels = {}
    for name, workload in WORKLOADS.items():
        labels[name] = workload["spec"]["template"]["metadata"]["labels"]
        if workload["kind"] != "Job":
            assert workload["spec"]["selector"]["matchLabels"] == labels[name]
    for name, service in of("Service").items():
        assert service["spec"]["selector"] == labels[name]
        assert WORKLOADS[name]["spec"]["serviceName"] == name
    for name, policy in of("NetworkPolicy").items():
        assert policy["spec"]["podSelector"]["matchLabels"] == labels[name]


def test_ports_that_are_named_exist() -> None:
    for name, service in of("Service").items():
        named = {port["name"]: port["containerPort"] for port in pod(name)["containers"][0]["ports"]}
        for port in service["spec"]["ports"]:
            assert named[port["targetPort"]] == port["port"]
        (rule,) = of("NetworkPolicy")[name]["spec"]["ingress"]
        assert {port["port"] for port in rule["ports"]} == set(named)


def test_secrets_and_claims_that_are_referred_to_exist() -> None:
    secrets = {name: secret["stringData"].keys() for name, secret in of("Secret").items()}
    for _, container in everything():
        for source in container.get("envFrom", ()):
            assert source["secretRef"]["name"] in secrets
        for variable in container.get("env", ()):
            if "valueFrom" in variable:
                key = variable["valueFrom"]["secretKeyRef"]
                assert key["key"] in secrets[key["name"]]
    for target in of("TriggerAuthentication")["dashboard"]["spec"]["secretTargetRef"]:
        assert target["key"] in secrets[target["name"]]
    claims = of("PersistentVolumeClaim")
    for name in WORKLOADS:
        for volume in pod(name).get("volumes", ()):
            assert volume.get("persistentVolumeClaim", {"claimName": "datasets"})["claimName"] in claims


def test_mounts_are_of_volumes_that_exist() -> None:
    for name, container in everything():
        volumes = {volume["name"] for volume in pod(name).get("volumes", ())}
        templates = WORKLOADS[name]["spec"].get("volumeClaimTemplates", ())
        volumes |= {template["metadata"]["name"] for template in templates}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_settings_that_are_named_exist() -> None:
    known = {f"FLOWCERT_{field.upper()}" for field in Settings.model_fields}
    used = {variable["name"] for _, container in everything() for variable in container.get("env", ())}
    used |= {name for secret in of("Secret").values() for name in secret["stringData"]}
    assert {name for name in used if name.startswith("FLOWCERT_")} <= known


@pytest.mark.parametrize("name", ["scheduler", "worker", "migrate"])
def test_commands_exist_and_run_under_the_images_init(name: str) -> None:
    for container in containers(name):
        # Arguments, not a command: that would take the place of the image's init.
        assert "command" not in container
        args = container["args"]
        assert parse_script(args[-1]) if args[0] == "sh" else parse(args) == f"flowcert {name}"
        for kind in ("startupProbe", "readinessProbe"):
            if kind in container:
                assert parse(container[kind]["exec"]["command"]) == "flowcert db check"


def test_the_upgrade_makes_the_logins_that_are_used() -> None:
    (container,) = containers("migrate")
    made = dict(re.findall(r"flowcert db login (\w+) (\w+)", container["args"][-1]))
    assert made == {"flowcert_compute": "worker", "flowcert_reader": "dashboard"}
    example = (FOLDER / "secrets.example.yaml").read_text()
    assert "postgresql://flowcert_compute:WORKER_PASSWORD@postgres/flowcert" in example
    (trigger,) = of("ScaledObject")["worker"]["spec"]["triggers"]
    assert trigger["metadata"]["userName"] in made


def test_no_pod_runs_as_root_or_may_become_it() -> None:
    assert of("Namespace")["flowcert"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, container in everything():
        whole = pod(name)["securityContext"]
        assert whole["runAsNonRoot"] is True
        assert whole["runAsUser"] > 0
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(name)["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        }  # fmt: skip
        assert "ports" not in container or "hostPort" not in str(container["ports"])


def test_every_container_has_its_share() -> None:
    for _, container in everything():
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_images_are_pinned() -> None:
    tags = {image["name"]: f"{image['newName']}:{image['newTag']}" for image in kustomization()["images"]}
    for _, container in everything():
        assert re.fullmatch(r"[\w/.-]+:\d+\.\d+(\.\d+)?(-\w+)?", tags.get(container["image"], container["image"]))


def test_a_worker_has_a_gpu_to_itself_and_time_to_hand_in() -> None:
    (container,) = pod("worker")["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert pod("worker")["terminationGracePeriodSeconds"] > STOP_SECONDS + 10
    assert WORKLOADS["scheduler"]["spec"]["replicas"] == 2


def test_workers_are_scaled_by_a_view_that_exists() -> None:
    scaled = of("ScaledObject")["worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] in of("Deployment")
    # Who sets a number here would have it reset at each apply.
    assert "replicas" not in of("Deployment")["worker"]["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["authenticationRef"]["name"] in of("TriggerAuthentication")
    host = trigger["metadata"]["host"].split(".")
    assert host[0] in of("Service")
    assert host[1] == kustomization()["namespace"]
    (view,) = re.findall(r"SELECT tasks_ready \+ tasks_leased FROM (\w+)$", trigger["metadata"]["query"])
    assert (FOLDER.parents[1] / "migrations" / "views" / f"{view}.sql").is_file()


def test_the_cpu_variant_patches_what_is_there() -> None:
    variant = yaml.safe_load((FOLDER / "cpu" / "kustomization.yaml").read_text())
    assert [(FOLDER / "cpu" / name).resolve() for name in variant["resources"]] == [FOLDER]
    (patch,) = variant["patches"]
    found: Any = WORKLOADS[patch["target"]["name"]]
    assert found["kind"] == patch["target"]["kind"]
    images = {f"{image['newName']}:{image['newTag']}" for image in kustomization()["images"]}
    for step in yaml.safe_load(patch["patch"]):
        value = found
        for part in step["path"].strip("/").split("/"):
            value = value[int(part) if isinstance(value, list) else part.replace("~1", "/")]
        assert (step["op"], value) == ("remove", 1) or step["value"] in images
