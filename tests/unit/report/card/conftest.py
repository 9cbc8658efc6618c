"""Cards of the stress folder that the tests of the stress page simulate."""

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[1] / "stress" / "conftest.py"
_spec = importlib.util.spec_from_file_location("simulated_stress", _PATH)
_simulated = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_simulated)

TRAINING = {
    "config": {"objective": "rerouting"},
    "targets": [9, 18],
    "steps": 150,
    "validations": [
        {
            "step": 150,
            "cosine": {"9": 0.12, "18": 0.05},
            "norm_ratio": {"9": 1.4, "18": 1.9},
            "retain": {"1": 0.02, "2": 0.04},
            "kl": {"mean": 0.011, "p99": 0.2, "first": 0.01, "tokens": 400},
        }
    ],
}


@pytest.fixture(scope="session")
def defended_folder(tmp_path_factory):
    """A folder of one model with a defence; not to be changed."""
    return _simulated.make_stress(tmp_path_factory.mktemp("card") / "stand-ins", (("smol-135m", 1.35e8),))


@pytest.fixture
def make_folder(tmp_path):
    """Write another folder: ``make_folder(**what)``."""
    return lambda **what: _simulated.make_stress(tmp_path / "other", **what)


@pytest.fixture(scope="session")
def card(defended_folder):
    """Its card."""
    from demur.report.card import make_card
    from demur.report.stress import StressView

    return make_card(StressView(defended_folder), TRAINING)
