"""Carries out the Dockerfile, stage by stage, in virtual environments: the very commands, and then what they made.

Slow: each image is installed from packages anew. The last tests start the guard as its image would.
"""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from integration.deploy_files import BASE, DEPLOY, ROOT, compose_model, find_program, read_yaml
from integration.dockerfile import Build, list_context, parse_dockerfile, read_ignored

pytestmark = pytest.mark.slow
DISK_GIB = {"api": 4, "train": 8, "dev": 9}
"""What is needed, with room for what pip unpacks on the way."""
CUDA = re.compile(r"nvidia|cuda|cublas|cudnn|triton", re.IGNORECASE)
TRAINING = {
    "accelerate",
    "datasets",
    "lightgbm",
    "mlflow-skinny",
    "onnxscript",
    "optuna",
    "peft",
    "ray",
    "xgboost-cpu",
}
TOOLS = {"pytest", "ruff", "mypy", "jupyterlab", "hypothesis", "playwright"}
DEADLINE_S = 600


def torch_index(stages):
    """The build argument: what the file says, or pip's own index where that cannot be reached from here."""
    (given,) = {
        one.value.partition("=")[2] for one in stages["build-api"].all("ARG") if "TORCH_INDEX" in one.value
    }
    try:
        socket.create_connection((urlsplit(given).hostname, 443), 5).close()
    except OSError:
        return ""
    return given


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Maker of a stage, carried out: ``build("api", API_EXTRAS="serve")``; each once.

    Where KEPT_IMAGES names a folder, results stay there and are used again, whatever changed in between.
    """
    defaults, stages = parse_dockerfile((DEPLOY / "Dockerfile").read_text())
    context = ROOT, list_context(ROOT, read_ignored(ROOT / ".dockerignore"))
    kept, made = os.environ.get("KEPT_IMAGES"), {}

    def make(*names, **arguments):
        key = "-".join([names[-1], *arguments.values()]).replace(",", "-")
        if key in made:
            return made[key]
        root = Path(kept) / key if kept else tmp_path_factory.mktemp(key)
        root.mkdir(parents=True, exist_ok=True)
        is_built = (root / "built").exists()
        if not is_built and shutil.disk_usage(root).free < DISK_GIB[names[-1]] * 2**30:
            pytest.skip(f"{names[-1]} needs {DISK_GIB[names[-1]]} GiB of disk")
        given = {"TORCH_INDEX": "" if is_built else torch_index(stages)} | arguments
        one = Build(stages, defaults, context, root, given, is_built=is_built)
        for name in names:
            one.stage = one.carry_out(name)
        (root / "built").touch()
        made[key] = one
        return one

    yield make
    if not kept:
        for one in made.values():
            shutil.rmtree(one.root, ignore_errors=True)


@pytest.fixture(scope="module")
def api(build):
    return build("build-api", "api")


@pytest.fixture(scope="module")
def train(build):
    return build("build-train", "train")


def packages(image):
    """Name to version of what pip installed."""
    return {one["name"].lower(): one["version"] for one in json.loads(image.run("pip list --format json"))}


def size_gib(image):
    folder = image.place("/opt/demur")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(path.stat().st_size for path in files) / 2**30


def test_the_api_has_no_cuda_no_training_and_no_tools(api):
    found = set(packages(api))
    assert {"demur", "fastapi", "uvicorn", "torch", "onnxruntime", "boto3"} <= found
    assert [name for name in found if CUDA.search(name)] == []
    assert found & (TRAINING | TOOLS) == set()
    assert api.run(["python", "-c", "import torch; print(torch.version.cuda)"]).strip() == "None"
    assert size_gib(api) < 2.5


def test_the_api_installs_the_torch_of_the_constraints(api):
    wanted = re.search(r"^torch==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]
    assert packages(api)["torch"].split("+")[0] == wanted


def test_what_is_installed_fits_together(api):
    assert "No broken requirements" in api.run("pip check")


def test_what_would_change_the_system_was_asked_for(api):
    asked = (api.root / "not-done.txt").read_text()
    assert "apt-get install --yes --no-install-recommends libgomp1 tini" in asked
    assert "useradd --system --no-log-init --uid 10001" in asked


def test_the_entry_point_is_the_command(api):
    entry = api.start_words(api.stage)[:3]
    assert entry == ["tini", "--", "demur"]
    assert "Usage: demur serve" in api.run([*entry, "serve", "--help"])
    assert "demur 0." in api.run([*entry, "--version"])


def test_the_image_for_exported_models_is_less_than_half_and_has_no_torch(build, api):
    slim = build("build-api", "api", API_EXTRAS="serve,aws,onnx")
    found = set(packages(slim))
    assert {"demur", "fastapi", "onnxruntime", "tokenizers"} <= found
    assert found & {"torch", "transformers"} == set()
    assert "Usage: demur serve" in slim.run(["demur", "serve", "--help"])
    assert size_gib(slim) < size_gib(api) / 2


def test_the_training_image_trains_and_compares_as_compose_says(train):
    found = set(packages(train))
    assert found >= TRAINING
    assert [name for name in found if CUDA.search(name)] == []
    services = compose_model("compose.yaml")["services"]
    few = ["-m", "rules", "-m", "tfidf_nb", "-t", "refusal", "--no-report"]
    entry = train.start_words(train.stage)
    assert entry == ["tini", "--", "demur", *services["train"]["command"]]
    train.run([*entry, *few])
    assert "rules" in train.run([*entry[:-1], *services["analyze"]["command"]])
    assert (train.place("/var/lib/demur/runs/starter/run.json")).is_file()


def test_the_work_bench_has_the_tools_and_the_work_tree(build):
    dev = build("build-train", "dev")
    assert set(packages(dev)) >= TOOLS
    where = dev.run(["python", "-c", "import demur; print(demur.__file__)"])
    assert where.strip() == str(dev.place("/src/src/demur/__init__.py").resolve())
    assert dev.run(["jupyter", "lab", "--version"]).startswith("4.")


# The guard, started as its image starts it


@pytest.fixture
def served(api, finished_run, tmp_path):
    """The process of the image's command over a small run and a database of its own, with its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    changes = {
        "DEMUR_HOST": "127.0.0.1",
        "DEMUR_PORT": str(port),
        "DEMUR_WORKERS": "1",
        "DEMUR_MODELS": json.dumps([str(finished_run)]),
        "DEMUR_DATABASE__URL": f"sqlite:///{tmp_path}/demur.db",
        "DEMUR_SPOOL__FOLDER": str(tmp_path / "spool"),
        "DEMUR_KEYS__REQUIRED": "false",
        "demur_secret": "a-secret-of-this-test-alone",
        "webhook_key": "another-secret-of-this-test",
        "OMP_NUM_THREADS": "1",
    }
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(
        api.start_words(api.stage),
        cwd=tmp_path,
        env=api.variables() | changes,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    process.port, process.changes, process.log = port, changes, tmp_path / "log"
    yield process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    log.close()


def is_healthy(api, port):
    """Whether the image's own health check says so."""
    words = api.stage.last("HEALTHCHECK").rest.removeprefix("CMD ")
    command = [word.replace("8000", str(port)) for word in json.loads(words)]
    return subprocess.run(command, env=api.variables(), capture_output=True, check=False).returncode == 0


def ask(port, path, body=None):
    """Status and text of an answer; 0 where nobody answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Content-Type": "application/json"}
        try:
            connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        except ConnectionRefusedError:
            return 0, ""
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def wait_until(claim, process):
    ends = time.monotonic() + DEADLINE_S
    while time.monotonic() < ends:
        if claim():
            return
        assert process.poll() is None, process.log.read_text()[-3000:]
        time.sleep(0.2)
    pytest.fail(f"not within {DEADLINE_S} s\n{process.log.read_text()[-3000:]}")


def test_the_health_check_fails_where_nobody_serves(api):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert not is_healthy(api, port)


def test_the_guard_starts_is_healthy_and_ends_when_told(api, served):
    wait_until(lambda: is_healthy(api, served.port), served)
    wait_until(lambda: ask(served.port, "/readyz")[0] == 200, served)
    status, text = ask(served.port, "/metrics")
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"demur_requests", "demur_ready_workers"} <= names
    served.terminate()
    assert served.wait(60) == 0, served.log.read_text()[-3000:]
    assert "a-secret-of-this-test-alone" not in served.log.read_text()


def test_the_migration_of_the_job_makes_the_tables(api, tmp_path):
    (job,) = read_yaml(BASE / "migrate.yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    ((name, reference),) = [(one["name"], one["value"]) for one in container["env"]]
    variables = {name: reference, "CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "database_url").write_text(f"sqlite:///{tmp_path}/demur.db\n")
    for _ in range(2):
        api.run(["demur", *map(api.move, container["args"])], **variables)
    assert "predictions" in api.run(["demur", "store", "counts"], **variables)


@pytest.fixture
def prometheus(served, tmp_path):
    """A real Prometheus that scrapes the guard, with our alerts: its address."""
    program = find_program("prometheus")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    job = {"job_name": "demur", "static_configs": [{"targets": [f"127.0.0.1:{served.port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus" / "alerts.yml")],
        "scrape_configs": [job],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    options = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [program, *options, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    yield port
    process.kill()
    process.wait()


def query(port, text):
    """What Prometheus answers to a query: its series, each with labels and value."""
    status, body = ask(port, f"/api/v1/query?{urlencode({'query': text})}")
    assert status == 200, f"{text}\n{body}"
    return json.loads(body)["data"]["result"]


def test_a_real_prometheus_reads_the_guard_and_answers_the_dashboard(api, served, prometheus):
    wait_until(lambda: is_healthy(api, served.port) and ask(served.port, "/readyz")[0] == 200, served)
    body = {"input": [{"prompt": "how is bread made", "response": "I cannot help with that."}]}
    for _ in range(20):
        assert ask(served.port, "/v1/classify", body)[0] == 200
    wait_until(lambda: len(query(prometheus, 'up{job="demur"} == 1')) == 1, served)
    wait_until(lambda: query(prometheus, 'sum(demur_requests_total{route="/v1/classify"}) >= 20'), served)
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "demur.json").read_text())
    texts = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    for text in texts:
        for name, value in {"$__rate_interval": "5m", "$__range": "5m", "$instance": ".*", "$task": ".*"}.items():
            text = text.replace(name, value)
        query(prometheus, text)
    names = {one["metric"]["__name__"] for one in query(prometheus, '{__name__=~"demur_.*"}')}
    assert {"demur_verdicts_total", "demur_model", "demur_ready_workers", "demur_records_total"} <= names
    rules = json.loads(ask(prometheus, "/api/v1/rules")[1])["data"]["groups"][0]["rules"]
    assert {rule["health"] for rule in rules} == {"ok"}
