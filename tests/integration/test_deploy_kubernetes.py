"""Tests of the manifests of Kubernetes: each against the schema, and all against the guard's own configuration."""

import json
import re

import pytest

from demur.serve import ServeConfig, load_serve
from demur.store._engine import parse_url
from integration.deploy_files import (
    BASE,
    DEPLOY,
    find_object,
    read_yaml,
    rendered,
    secrets_of,
    size_in_bytes,
)

KUBERNETES = ("1.28", "1.31", "1.34")
"""Versions whose schemas the manifests must fit, beside the newest one known."""


@pytest.fixture(params=["base", "durable-spool"])
def objects(request):
    """What each kustomization renders to."""
    return json.loads(rendered(request.param))


def plain_objects():
    return [(path, one) for path in sorted(BASE.glob("*.yaml")) for one in read_yaml(path)]


# Kubernetes


@pytest.mark.parametrize("version", [*KUBERNETES, "newest"])
@pytest.mark.parametrize(
    ("path", "given"),
    [pytest.param(path, one, id=path.name) for path, one in plain_objects() if one["kind"] != "Kustomization"],
)
def test_each_manifest_fits_the_schema_of_kubernetes(path, given, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    wanted = kubernetes_validate.latest_version() if version == "newest" else version
    kubernetes_validate.validate(given, wanted, strict=True)


def test_what_is_rendered_fits_the_schema_too(objects):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for one in objects:
        kubernetes_validate.validate(one, KUBERNETES[0], strict=True)


def test_the_schema_sees_a_wrong_key():
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    (deployment,) = read_yaml(BASE / "deployment.yaml")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(deployment, KUBERNETES[0], strict=True)


@pytest.mark.parametrize("folder", ["base", "durable-spool"])
def test_a_kustomization_lists_every_file_that_is_no_example(folder):
    (listed,) = read_yaml(DEPLOY / "kubernetes" / folder / "kustomization.yaml")
    own = {name for name in listed["resources"] if name.endswith(".yaml")}
    there = {path.name for path in (DEPLOY / "kubernetes" / folder).glob("*.yaml")}
    assert own == {name for name in there if not name.endswith(".example.yaml")} - {"kustomization.yaml"}


def test_everything_is_in_the_namespace(objects):
    cluster_wide = {"Namespace"}
    assert {one["metadata"].get("namespace") for one in objects if one["kind"] not in cluster_wide} == {"demur"}


def pods_of(objects):
    """Pod template and what it is of: the guard and the migration."""
    return [one for one in objects if one["kind"] in ("Deployment", "StatefulSet", "Job")]


def test_pods_are_as_closed_as_the_restricted_standard_wants(objects):
    for one in pods_of(objects):
        spec = one["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not any(key in spec for key in ("hostNetwork", "hostPID", "hostIPC"))
        for container in spec["containers"]:
            closed = container["securityContext"]
            assert closed["allowPrivilegeEscalation"] is False
            assert closed["readOnlyRootFilesystem"] is True
            assert closed["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= set(container["resources"]["requests"])
            assert "memory" in container["resources"]["limits"]


def test_no_variable_of_a_service_can_override_the_configuration(objects):
    """A service called demur sets DEMUR_PORT, which the configuration would read."""
    assert [
        one["metadata"]["name"]
        for one in objects
        if one["kind"] == "Service" and one["metadata"]["name"] == "demur"
    ] == []
    assert {one["spec"]["template"]["spec"]["enableServiceLinks"] for one in pods_of(objects)} == {False}


def test_the_pods_run_as_the_user_of_the_image(objects, stages):
    user, group = map(int, stages["api"].last("USER").value.split(":"))
    for one in pods_of(objects):
        context = one["spec"]["template"]["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)


def test_names_that_refer_to_each_other_agree(objects):
    guard = next(one for one in pods_of(objects) if one["kind"] != "Job")
    labels = guard["spec"]["template"]["metadata"]["labels"]
    assert guard["spec"]["selector"]["matchLabels"] == labels
    for kind in ("PodDisruptionBudget", "Service"):
        for one in (one for one in objects if one["kind"] == kind):
            selector = one["spec"]["selector"]
            assert selector.get("matchLabels", selector) == labels
    scaler = find_object(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": guard["kind"], "name": "demur"}
    assert scaler["minReplicas"] == guard["spec"]["replicas"] == 3
    assert find_object(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] < 3
    policy = find_object(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]
    for one in pods_of(objects):
        assert policy.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_what_a_pod_mounts_is_there(objects):
    names = {(one["kind"], one["metadata"]["name"]) for one in objects} | {("Secret", "demur")}
    for one in pods_of(objects):
        spec = one["spec"]["template"]["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in names
        claims = {claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in spec["volumes"]} | claims
        assert {mount["name"] for mount in spec["containers"][0]["volumeMounts"]} == volumes
        for volume in spec["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in names
            if "secret" in volume:
                assert ("Secret", volume["secret"]["secretName"]) in names
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in names


def test_a_rotated_secret_reaches_a_running_pod(objects):
    """A file mounted by subPath, or a variable, keeps the value of the start."""
    for one in pods_of(objects):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        assert not any("subPath" in mount for mount in container["volumeMounts"])
        assert not any("secretKeyRef" in json.dumps(one) for one in container.get("env", ()))


def test_every_probe_asks_the_port_that_is_served(objects):
    guard = next(one for one in pods_of(objects) if one["kind"] != "Job")
    (container,) = guard["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {one["port"] for one in asked.values()} == {"http"}
    assert {kind: one["path"] for kind, one in asked.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }


def test_migration_and_guard_are_of_one_image(objects):
    images = {one["spec"]["template"]["spec"]["containers"][0]["image"] for one in pods_of(objects)}
    assert len(images) == 1
    assert re.search(r":\d+\.\d+\.\d+$", images.pop())


def test_the_guard_on_volumes_of_its_own_differs_in_nothing_else():
    base, durable = (json.loads(rendered(folder)) for folder in ("base", "durable-spool"))
    plain = find_object(base, "Deployment")["spec"]["template"]
    stateful = find_object(durable, "StatefulSet")["spec"]
    (claim,) = stateful["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "spool"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert stateful["serviceName"] in {one["metadata"]["name"] for one in durable if one["kind"] == "Service"}
    plain["spec"]["volumes"] = [one for one in plain["spec"]["volumes"] if one["name"] != "spool"]
    plain["spec"]["containers"][0]["env"] += [{"name": "DEMUR_SPOOL__FSYNC", "value": "always"}]
    for template in (plain, stateful["template"]):
        template["spec"]["containers"][0]["env"].sort(key=lambda variable: variable["name"])
    assert stateful["template"] == plain
    assert not [one for one in durable if one["kind"] == "Deployment"]


def test_only_v1_leads_in_from_outside():
    (ingress,) = read_yaml(BASE / "ingress.example.yaml")
    paths = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/v1"]
    assert ingress["spec"]["tls"]


def test_the_template_of_the_secret_holds_none_and_is_not_applied():
    (secret,) = read_yaml(BASE / "secret.example.yaml")
    assert all("REPLACE" in value for value in secret["stringData"].values())
    (listed,) = read_yaml(BASE / "kustomization.yaml")
    assert "secret.example.yaml" not in listed["resources"]


# The guard's own configuration


@pytest.fixture
def pod_settings(tmp_path):
    """The configuration of the pods, as the guard reads it."""
    (config,) = read_yaml(BASE / "configmap.yaml")
    (tmp_path / "serve.yaml").write_text(config["data"]["serve.yaml"])
    return load_serve(tmp_path / "serve.yaml")


def test_the_guard_takes_both_configurations(pod_settings):
    settings = load_serve(DEPLOY / "serve.yaml")
    assert (settings.host, settings.port) == (pod_settings.host, pod_settings.port) == ("0.0.0.0", 8000)
    assert settings.database.migrate is True
    assert pod_settings.database.migrate is False


def test_the_database_is_postgresql_and_its_password_a_reference(compose, objects, monkeypatch):
    given = [compose["services"]["api"]["environment"]["DATABASE_URL"].replace("$$", "$")]
    unit = (DEPLOY / "systemd" / "demur.service").read_text()
    given += re.findall(r"^Environment=DATABASE_URL=(.*)$", unit, re.MULTILINE)
    for one in pods_of(objects):
        (container,) = one["spec"]["template"]["spec"]["containers"]
        given += [variable["value"] for variable in container["env"] if variable["name"] == "DATABASE_URL"]
    assert len(given) == 4
    for url in given:
        monkeypatch.setenv("DATABASE_URL", url)
        settings = load_serve(DEPLOY / "serve.yaml")
        assert settings.database.url.names
        found = settings.database.url.fill(lambda name: "postgresql://x@y/z" if name.endswith("url") else "p@ss")
        assert parse_url(found).get_backend_name() == "postgresql"


def test_the_secrets_of_the_pods_are_those_of_the_template(pod_settings):
    (secret,) = read_yaml(BASE / "secret.example.yaml")
    files = [BASE / name for name in ("configmap.yaml", "deployment.yaml", "migrate.yaml")]
    assert secrets_of(*files) == set(secret["stringData"])
    for settings in (pod_settings, load_serve(DEPLOY / "serve.yaml")):
        assert settings.secret.names == ("demur_secret",)
        assert settings.alerts.secret.names == ("webhook_key",)


def test_the_port_is_the_same_everywhere(compose, stages):
    port = load_serve(DEPLOY / "serve.yaml").port
    assert stages["api"].last("EXPOSE").value == str(port)
    assert f"'127.0.0.1', {port}" in stages["api"].last("HEALTHCHECK").value
    assert [one["target"] for one in compose["services"]["api"]["ports"]] == [port]
    (deployment,) = read_yaml(BASE / "deployment.yaml")
    assert deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] == str(port)


def test_the_folders_are_those_that_are_mounted(compose, pod_settings):
    for settings in (load_serve(DEPLOY / "serve.yaml"), pod_settings):
        assert str(settings.spool.folder) == "/var/lib/demur/spool"
        assert all(folder.startswith("/var/lib/demur/runs/") for folder in settings.models)
        assert settings.admin.folders == ("/var/lib/demur/runs",)
    targets = {one["target"] for one in compose["services"]["api"]["volumes"]}
    assert {"/var/lib/demur/spool", "/var/lib/demur/runs", "/etc/demur/serve.yaml"} == targets
    (deployment,) = read_yaml(BASE / "deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    assert {"/var/lib/demur/spool", "/var/lib/demur/runs", "/etc/demur", "/run/secrets", "/tmp"} == mounted


def test_a_full_spool_refuses_before_its_volume_is_full(pod_settings, objects):
    """A pod whose emptyDir passes its limit is thrown out, with its records."""
    guard = next(one for one in pods_of(objects) if one["kind"] != "Job")
    spec = guard["spec"]["template"]["spec"]
    sizes = [one["emptyDir"]["sizeLimit"] for one in spec["volumes"] if one["name"] == "spool"]
    sizes += [
        one["spec"]["resources"]["requests"]["storage"] for one in guard["spec"].get("volumeClaimTemplates", ())
    ]
    assert len(sizes) == 1
    assert size_in_bytes(sizes[0]) >= 1.5 * pod_settings.spool.max_bytes


def test_whoever_stops_the_guard_waits_until_it_has_drained(compose, pod_settings, objects):
    """The supervisor gives the time twice at worst, to workers and then to the controller; then the spool."""
    guard = next(one for one in pods_of(objects) if one["kind"] != "Job")
    needed = 2 * (pod_settings.drain_wait_s + pod_settings.drain_s) + 15
    assert guard["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= needed
    settings = load_serve(DEPLOY / "serve.yaml")
    needed = 2 * (settings.drain_wait_s + settings.drain_s) + 15
    assert compose["services"]["api"]["stop_grace_period"] == "2m0s"
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "systemd" / "demur.service").read_text(), re.MULTILINE)
    assert int(stop[1]) >= needed <= 120


def test_a_pod_that_ends_answers_until_the_cluster_sends_elsewhere(pod_settings, objects):
    guard = next(one for one in pods_of(objects) if one["kind"] != "Job")
    probe = guard["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
    assert pod_settings.drain_wait_s >= probe["periodSeconds"] * probe["failureThreshold"]


def test_variables_of_the_pods_are_settings_of_the_guard(objects, monkeypatch):
    """A misspelt one would be somebody else's, and left alone."""
    for one in pods_of(objects):
        for variable in one["spec"]["template"]["spec"]["containers"][0].get("env", ()):
            monkeypatch.setenv(variable["name"], variable["value"])
            assert load_serve() != ServeConfig()
