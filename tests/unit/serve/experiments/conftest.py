"""Stores with a champion and a challenger, experiments in them, and made-up traffic with known rates."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from demur.config import parse_settings
from demur.serve.experiments import (
    ExperimentConfig,
    ExperimentRouter,
    ExperimentsConfig,
    Move,
    create_experiment,
    move_experiment,
)
from demur.store import FeedbackRow, ModelRow, PredictionRow, open_store

START = datetime(2031, 3, 3, 8, 0, tzinfo=UTC)
QUICK = ExperimentsConfig(lag_s=0, settle_s=0, page_rows=500)
THREAT, SAFE = "hard_refusal", "no_refusal"


@pytest.fixture
def url(tmp_path):
    """The address of an empty SQLite file."""
    return f"sqlite:///{tmp_path / 'demur.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request, tmp_path):
    """The address of an empty database of each kind."""
    return (
        f"sqlite:///{tmp_path / 'demur.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres")
    )


def open_filled(url):
    """A migrated store with the champion ``v1`` and the challengers ``v2`` and ``v3`` of the task refusal."""
    store = open_store(url)
    store.migrate()
    for version, stage in (("v1", "champion"), ("v2", "challenger"), ("v3", "challenger")):
        store.register_model(
            ModelRow(
                task="refusal", name=f"model-{version}", version=version, folder=f"models/{version}", stage=stage
            )
        )
    return store


@pytest.fixture
def store(url):
    """A store with models in it."""
    with open_filled(url) as opened:
        yield opened


@pytest.fixture
def any_store(any_url):
    """A store of each kind with models in it."""
    with open_filled(any_url) as opened:
        yield opened


@pytest.fixture
def make_config():
    """Maker of configurations of ``v1`` against ``v2``: ``make_config(metric="flag_rate")``."""

    def make(**values):
        defaults = {"name": "new model", "task": "refusal", "challengers": [{"version": "v2"}], "guards": []}
        return parse_settings(ExperimentConfig, defaults | values)

    return make


@pytest.fixture
def begin(make_config):
    """Maker of experiments that have begun: ``begin(store, "running", metric=...)``."""

    def make(store, stage="running", at=START, **values):
        row = create_experiment(store, make_config(**values), at)
        return move_experiment(store, row.id, Move(stage, "key1", "a test"), at) if stage else row

    return make


class Traffic:
    """Requests of made-up subjects, routed as a worker routes them, with answers of known rates.

    Parameters
    ----------
    accuracy
        Version to the chance that its label is right.
    values
        Version to values of its rows, such as ``latency_ms``; a function is called with the generator.
    key
        The one key that all feedback comes with, empty: without; None: ten keys by turns.
    source
        Of all feedback.
    """

    def __init__(self, store, seed=0, accuracy=None, values=None, rows_each=1, key=None, source="user"):
        self.store, self.random = store, np.random.default_rng(seed)
        self.accuracy, self.values, self.rows_each = accuracy or {}, values or {}, rows_each
        self.key, self.source = key, source
        self.router, self.n, self.seed = ExperimentRouter(store), 0, seed
        self.router.refresh()

    def send(self, n, since, seconds=1.0, share_labelled=1.0):
        """Record ``n`` requests, evenly over the seconds after ``since``; the time of the last one."""
        predictions, feedback = [], []
        at = since
        for number in range(n):
            at = since + timedelta(seconds=seconds * (number + 1) / (n + 1))
            subject, request = f"s{self.n // self.rows_each}", f"{self.seed}-{self.n}"
            self.n += 1
            truth = THREAT if self.random.random() < 0.5 else SAFE
            route = self.router.route("refusal", subject)
            rows = [(route.version or "v1", route.arm, False)]
            rows += [(one.version, one.arm, True) for one in route.shadows]
            predictions += [self._row(request, subject, at, truth, (*row, route.experiment)) for row in rows]
            if self.random.random() < share_labelled:
                feedback.append(self._label(request, truth, at))
        self.store.add_predictions(predictions)
        self.store.add_feedback(feedback)
        return at

    def _label(self, request, truth, at):
        key = f"k{self.n % 10}" if self.key is None else self.key
        values = {"request_id": request, "task": "refusal", "label": truth, "source": self.source, "at": at}
        return FeedbackRow(id=f"f{request}", key_id=key or None, **values)

    def _row(self, request, subject, at, truth, how):
        version, arm, is_shadow, experiment = how
        is_right = self.random.random() < self.accuracy.get(version, 0.9)
        label = truth if is_right else (SAFE if truth == THREAT else THREAT)
        given = {
            name: one(self.random) if callable(one) else one for name, one in self.values.get(version, {}).items()
        }
        defaults = {
            "request_id": request,
            "task": "refusal",
            "model": f"model-{version}",
            "version": version,
            "label": label,
            "probabilities": {SAFE: 0.5, THREAT: 0.5},
            "threat_score": 0.5,
            "is_flagged": label == THREAT,
            "is_unsure": False,
            "experiment": experiment,
            "arm": arm,
            "is_shadow": is_shadow,
            "subject": subject,
            "latency_ms": 10.0,
            "at": at,
        }
        return PredictionRow(**(defaults | given))


@pytest.fixture
def traffic():
    """The class of made-up traffic."""
    return Traffic
