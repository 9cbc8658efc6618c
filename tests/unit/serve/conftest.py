"""Small saved models that a guard can serve, made once."""

import os
from copy import copy

import pytest


def pytest_configure(config):
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def rules_folder(tmp_path_factory):
    """A saved ``rules`` model of the task refusal; no operating points."""
    from demur.models.rules import RulesClassifier
    from demur.tasks import REFUSAL

    folder = tmp_path_factory.mktemp("served") / "rules"
    RulesClassifier(REFUSAL).save(folder)
    return folder


@pytest.fixture(scope="session")
def risk_folder(tmp_path_factory):
    """A saved ``rules`` model of the task prompt_risk, which judges prompts."""
    from demur.models.rules import RulesClassifier
    from demur.tasks import PROMPT_RISK

    folder = tmp_path_factory.mktemp("served") / "risk"
    RulesClassifier(PROMPT_RISK).save(folder)
    return folder


@pytest.fixture(scope="session")
def ready_folder(tmp_path_factory):
    """A saved ``tfidf_logreg`` of the task refusal with the points ``fpr_10`` and ``fpr_20``, and abstention."""
    from tests.conftest import make_rows

    from demur.config import parse_settings
    from demur.data import Records
    from demur.metrics import Bootstrap
    from demur.models import ReadyConfig, find_preset, make_ready
    from demur.tasks import REFUSAL

    family, settings = find_preset("tfidf_logreg")
    classifier = family(REFUSAL, parse_settings(family.config_type, settings | {"threads": 1}), 0)
    classifier.fit(Records.from_rows(make_rows(120)))
    classifier = copy(classifier)
    config = ReadyConfig(calibration="isotonic", false_positive_rates=(0.1, 0.2), alpha=0.2)
    make_ready(classifier, Records.from_rows(make_rows(150, first=400)), config, intervals=Bootstrap(draws=20))
    folder = tmp_path_factory.mktemp("served") / "tfidf_logreg"
    classifier.save(folder)
    return folder


@pytest.fixture(scope="session")
def dual_folder(tmp_path_factory):
    """A saved ``dual`` model of the tasks refusal and jailbreak on a tiny encoder, exported to ONNX."""
    import torch
    from tests.conftest import make_rows
    from tests.unit.models.conftest import _make_config, _make_tokenizer
    from transformers import AutoModel

    from demur.data import Records
    from demur.models import export_onnx
    from demur.models.dual import DualClassifier, DualConfig
    from demur.tasks import JAILBREAK, REFUSAL

    checkpoint = tmp_path_factory.mktemp("served") / "bert"
    tokenizer = _make_tokenizer("bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(_make_config("bert", tokenizer)).save_pretrained(checkpoint)
    tokenizer.save_pretrained(checkpoint)
    train = {"epochs": 1, "batch_size": 16}
    config = DualConfig(model=str(checkpoint), max_tokens=32, prompt_tokens=12, train=train)
    rows = make_rows(48)
    other = [
        {key: value for key, value in row.items() if key != "refusal"} | {"jailbreak": JAILBREAK.labels[place % 2]}
        for place, row in enumerate(make_rows(48, first=300))
    ]
    classifier = DualClassifier(REFUSAL, config, seed=0)
    classifier.companions = {"jailbreak": (JAILBREAK, Records.from_rows(other))}
    classifier.fit(Records.from_rows(rows))
    folder = tmp_path_factory.mktemp("served") / "dual"
    classifier.save(folder)
    export_onnx(classifier, folder, Records.from_rows(rows))
    return folder
