"""Experiments on some rows of our own that take a fraction of a second, and counters of what they do."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.fixture
def values(tiny_values, write, rows):
    """Configuration of a tiny experiment on 120 rows of our own, without a blind set."""
    return tiny_values | {"data": [{"path": str(write(rows()))}], "blind": []}


@pytest.fixture
def config(tiny, values):
    """Maker of such experiments: ``config(seed=3)`` changes a key."""
    return lambda **changes: tiny(**values | changes)


@pytest.fixture
def run(config, tmp_path):
    """Runs such an experiment into ``tmp_path/run`` (or ``out``) and gives its result."""
    from demur.experiment import run_experiment

    def start(out="run", progress=None, **changes):
        return run_experiment(config(**changes), out=tmp_path / out, progress=progress)

    return start


@pytest.fixture
def cell(config, tmp_path):
    """Maker of a cell: ``cell(model, **changes of the configuration)``."""
    from demur.experiment._folder import RunFolder
    from demur.experiment._plan import Cell
    from demur.experiment._prepare import prepare_tasks
    from demur.tasks import BUILT_IN

    def make(model="tfidf_logreg", tasks=("refusal",), **changes):
        settings = config(models=[model], **changes)
        folder = RunFolder(tmp_path / "run")
        prepared = {
            data.task.name: data for data in prepare_tasks(settings, [BUILT_IN[name] for name in tasks], folder)
        }
        return Cell(settings.models[0], prepared[tasks[0]], settings, folder, {"demur": "test"}, prepared)

    return make


@pytest.fixture
def fits(monkeypatch):
    """Names of the families fitted since the last ``fits.clear()``, in order."""
    from demur.models import CLASSIFIERS

    seen = []
    for name in ("rules", "classical"):
        family = CLASSIFIERS.get(name)

        def counting(self, *arguments, original=family._fit, name=name):
            seen.append(name)
            return original(self, *arguments)

        monkeypatch.setattr(family, "_fit", counting)
    return seen


@pytest.fixture
def break_family(monkeypatch):
    """Makes a method of the classical family raise, or give something else."""
    from demur.models import CLASSIFIERS

    def apply(method, outcome):
        def broken(self, *arguments):
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome(*arguments)

        monkeypatch.setattr(CLASSIFIERS.get("classical"), method, broken)

    return apply


@pytest.fixture
def stored():
    """A run's experiment_results.json."""
    return lambda folder: json.loads((folder / "experiment_results.json").read_text(encoding="utf-8"))


@pytest.fixture
def bench(rows, tmp_path):
    """Problems of a search whose best settings are known; see noisy.py."""
    from demur.data import Records

    spec = spec_from_file_location("noisy", Path(__file__).with_name("noisy.py"))
    module = module_from_spec(spec)
    sys.modules["noisy"] = module
    spec.loader.exec_module(module)
    grouped = [row | {"group": f"g{number // 2}"} for number, row in enumerate(rows(120))]
    return module.Bench(Records.from_rows(grouped), tmp_path)
