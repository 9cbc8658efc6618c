"""A store, traffic of a calibrated classifier that can be made to change, and a monitor with small numbers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from demur.config import parse_settings
from demur.serve.monitor import MonitorConfig
from demur.serve.monitor._sketch import DIMENSION, SKETCH, pack_sketch
from demur.store import InputSampleRow, ModelRow, PredictionRow, open_store
from demur.tasks import REFUSAL

NOON = datetime(2031, 5, 4, 12, 0, 0, tzinfo=UTC)
CENTRES = np.random.default_rng(7).normal(size=(2, DIMENSION)) / 16
VALUES = {
    "window": {"rows": 120, "every": 60, "min_rows": 50, "min_gap_s": 0, "settle_s": 0},
    "reference": {"rows": 300},
    "compare": {"permutations": 999, "refits": 99},
    "alarm": {"season": 5},
    "escalation": {
        "bound": 0.2,
        "levels": [
            {"rows": 10, "confidence": 0.8},
            {"rows": 20, "confidence": 0.8},
            {"rows": 40, "confidence": 0.9},
        ],
        "judge": {"batch": 50},
    },
}


def at(second):
    return NOON + timedelta(seconds=second)


def make_traffic(n, first=0, is_changed=False, seed=0, **values):
    """``n`` answers, one a second from ``first`` on, and samples; changed ones have other sketches and scores."""
    generator = np.random.default_rng([seed, first])
    chances = generator.dirichlet((0.5, 1.5, 0.5) if is_changed else (1.5, 0.5, 0.5), n)
    sketches = CENTRES[int(is_changed)] + generator.normal(size=(n, 2, DIMENSION)) / 8
    lengths = generator.poisson((60, 200), size=(n, 2)) + 1
    predictions, samples = [], []
    for number, chance in enumerate(chances):
        place = first + number
        defaults = {
            "request_id": f"r{place}",
            "task": "refusal",
            "model": "tiny",
            "version": "v1",
            "label": REFUSAL.labels[int(chance.argmax())],
            "probabilities": dict(zip(REFUSAL.labels, chance.tolist(), strict=True)),
            "threat_score": float(chance[1:].sum()),
            "prompt_chars": int(lengths[number, 0]),
            "response_chars": int(lengths[number, 1]),
            "latency_ms": float(generator.gamma(5, 2)),
            "at": at(place),
        }
        predictions.append(PredictionRow(**(defaults | values)))
        prompt, response = (pack_sketch(one / np.linalg.norm(one)) for one in sketches[number])
        samples.append(
            InputSampleRow(
                request_id=f"r{place}",
                sketch=SKETCH,
                prompt=prompt,
                response=response,
                language="en",
                at=at(place),
            )
        )
    return predictions, samples


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path / 'demur.db'}") as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def serve_rows(store):
    """Puts traffic into the store: ``serve_rows(100, first=300, is_changed=True)``."""

    def serve(n, first=0, **values):
        predictions, samples = make_traffic(n, first, **values)
        store.add_predictions(predictions)
        store.add_input_samples(samples)
        return predictions

    return serve


@pytest.fixture
def champion(store, tmp_path):
    return store.register_model(
        ModelRow(
            task="refusal", name="tiny", version="v1", folder=str(tmp_path / "none"), stage="champion", at=at(-1)
        )
    )


@pytest.fixture
def config():
    """Maker of settings with small numbers: ``config(window={"max_s": 60})`` changes some."""

    def make(**changes):
        merged = {name: VALUES.get(name, {}) | changes.get(name, {}) for name in VALUES}
        return parse_settings(MonitorConfig, merged | {k: v for k, v in changes.items() if k not in VALUES})

    return make
