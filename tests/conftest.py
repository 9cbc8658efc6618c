"""What all tests share: one hypothesis profile, small labelled records, a tiny experiment, the real data."""

import csv
import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import settings

from pg import _cluster, postgres, postgres_server  # noqa: F401

ROOT = Path(__file__).parents[1]

# A busy machine must not fail a test, and a failure must come back.
settings.register_profile("demur", deadline=None, derandomize=True)
settings.load_profile("demur")

WORDS = ["alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta", "lambda", "zeta", "iota", "rho"]
ANSWERS = {
    "no_refusal": "Here is the answer to it: {word}, then {other}.",
    "hard_refusal": "I cannot help with {word}.",
    "soft_refusal": "I could say a little on {word}, but no more of {other}.",
}


def make_rows(n=120, labels=tuple(ANSWERS), first=0):
    """``n`` rows of the task ``refusal``: two answers to each prompt, two sources, two answerers."""
    rows = []
    for number in range(first, first + n):
        pair, second = divmod(number, 2)
        label = labels[(pair + second * (1 + pair // 3 % 2)) % len(labels)]
        word, other = WORDS[number % 7], WORDS[number % 11]
        topic = f"{WORDS[number // 2 % 12]} {WORDS[number // 24 % 12]} {WORDS[number // 2 * 5 % 12]}"
        rows.append(
            {
                "id": f"r{number}",
                "prompt": f"what of {topic} {number // 2} {number // 2 * 7919}",
                "response": ANSWERS.get(label, "{word} {other}").format(word=word, other=other) + f" ({number})",
                "refusal": label,
                "source": "one" if number % 8 < 6 else "two",
                "model": "ada" if number % 2 else "bob",
            }
        )
    return rows


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def rows():
    """Maker of labelled rows: ``rows(n, labels, first)``."""
    return make_rows


@pytest.fixture
def write(tmp_path):
    """Writer of rows as JSON lines: ``write(rows, "name.jsonl")`` gives the path."""
    return lambda rows, name="rows.jsonl": write_rows(tmp_path / name, rows)


@pytest.fixture
def small_records():
    """60 labelled rows of the task ``refusal``."""
    from demur.data import Records

    return Records.from_rows(make_rows(60))


@pytest.fixture
def tiny_values():
    """An experiment that takes a second, as values: some rows of the starter corpus, two light models."""
    return {
        "name": "tiny",
        "tasks": ["refusal"],
        "data": [{"path": "starter:desk", "limit": 150}, {"path": "starter:field", "limit": 100}],
        "blind": [{"path": "starter:blind", "limit": 60}],
        "clean": {"detect_language": False},
        "validation": {"leave_one_out": []},
        "models": ["rules", "tfidf_logreg"],
        "draws": 50,
        "report": False,
    }


@pytest.fixture
def tiny(tiny_values):
    """Maker of tiny experiments: ``tiny(seed=3)`` changes a key."""
    from demur.config import parse_settings
    from demur.experiment import ExperimentConfig

    return lambda **changes: parse_settings(ExperimentConfig, tiny_values | changes)


@pytest.fixture
def config_file(tmp_path, tiny_values, write, rows):
    """Maker of a configuration file of a tiny experiment on rows of our own: ``config_file(**changes)``."""

    def make(**changes):
        values = tiny_values | {"data": [{"path": str(write(rows(), "tiny.jsonl"))}], "blind": []} | changes
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return make


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A finished run of two light models, made once in this process; not to be changed."""
    from demur.config import parse_settings
    from demur.experiment import ExperimentConfig, run_experiment

    values = {
        "tasks": ["refusal"],
        "data": [{"path": "starter:desk", "limit": 150}],
        "blind": [],
        "clean": {"detect_language": False},
        "validation": {"leave_one_out": []},
        "models": ["rules", "tfidf_nb"],
        "draws": 20,
        "report": False,
    }
    folder = tmp_path_factory.mktemp("finished") / "run"
    return run_experiment(parse_settings(ExperimentConfig, values), out=folder).folder


@pytest.fixture
def table():
    """The rows of a run's results.csv by (task, model), without what is measured by the clock."""
    from demur.report import TIMING_COLUMNS

    def read(folder):
        with (folder / "results.csv").open(encoding="utf-8", newline="") as handle:
            found = list(csv.DictReader(handle))
        return {
            (row["task"], row["model"]): {name: row[name] for name in row if name not in TIMING_COLUMNS}
            for row in found
        }

    return read


@pytest.fixture
def real_data():
    """Folder of the real sets (``refusal.jsonl`` and so on), which are not in the repository."""
    given = os.environ.get("DEMUR_REAL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not (folder / "refusal.jsonl").is_file():
        pytest.skip(f"no real data in {folder}; name its folder in DEMUR_REAL_DATA")
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    """Variables such as DEMUR_SEED of whoever runs the tests may not reach them."""
    for name in list(os.environ):
        if name.startswith("DEMUR_") and name != "DEMUR_REAL_DATA":
            monkeypatch.delenv(name)
