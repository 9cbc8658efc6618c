"""Models stored as changes: small, whole again when loaded, and bound to the base they were trained on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ArtifactError
from demur.models import load
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.tasks import REFUSAL

Maker = Callable[[int], Records]


def fit(folder: Path, rows: Records, **changes: Any) -> TransformerClassifier:
    train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01}
    values = {"model": str(folder), "max_tokens": 48, "prompt_tokens": 16, "head": "last", "tuning": "lora"}
    config = TransformerConfig(**values | {"train": train, "lora": {"rank": 2}} | changes)
    return TransformerClassifier(REFUSAL, config, seed=1).fit(rows)


@pytest.fixture
def base(tiny_causal: Path, tmp_path: Path) -> Path:
    """A copy of the tiny language model that may be altered."""
    return Path(shutil.copytree(tiny_causal, tmp_path / "base"))


@pytest.mark.parametrize(("tuning", "head"), [("lora", "last"), ("head", "mean"), ("lora", "transformers")])
def test_a_tuned_language_model_is_saved_as_its_changes(
    base: Path, refusals: Maker, tmp_path: Path, tuning: str, head: str
) -> None:
    rows = refusals(12)
    classifier = fit(base, rows, tuning=tuning, head=head)
    classifier.save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"changes.safetensors", "base.json", "config.json", "tokenizer.json"} <= names
    assert "model.safetensors" not in names
    loaded = load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(rows), classifier.predict_proba(rows))
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(load(tmp_path / "again").predict_proba(rows), classifier.predict_proba(rows))


@pytest.mark.parametrize("store", ["whole", "changes"])
def test_the_settings_decide_what_is_stored(base: Path, refusals: Maker, tmp_path: Path, store: str) -> None:
    fit(base, refusals(12), store=store).save(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").exists() is (store == "whole")
    assert (tmp_path / "model" / "base.json").exists() is (store == "changes")


def test_a_whole_model_needs_its_base_no_more(base: Path, refusals: Maker, tmp_path: Path) -> None:
    classifier = fit(base, refusals(12), store="whole")
    classifier.save(tmp_path / "model")
    shutil.rmtree(base)
    np.testing.assert_array_equal(
        load(tmp_path / "model").predict_proba(refusals(6)), classifier.predict_proba(refusals(6))
    )


def test_another_base_is_refused(base: Path, refusals: Maker, tmp_path: Path) -> None:
    fit(base, refusals(12)).save(tmp_path / "model")
    with (base / "model.safetensors").open("r+b") as handle:
        handle.seek(-4, 2)
        handle.write(b"\x00\x00\x00\x40")
    with pytest.raises(ArtifactError, match=r"whose weights are not those it was trained on; restore them"):
        load(tmp_path / "model")


def test_a_base_that_is_gone_is_named(base: Path, refusals: Maker, tmp_path: Path) -> None:
    fit(base, refusals(12)).save(tmp_path / "model")
    shutil.rmtree(base)
    with pytest.raises(ArtifactError, match=r"holds only its changes to '.*base', which is missing: there is no"):
        load(tmp_path / "model")


def test_changes_of_another_rank_are_refused(base: Path, refusals: Maker, tmp_path: Path) -> None:
    from demur.models.transformer._changes import load_changes

    classifier = fit(base, refusals(12))
    classifier.save(tmp_path / "model")
    other = classifier.config.model_copy(update={"tuning": "head"})
    with pytest.raises(ArtifactError, match=r"do not fit .*first difference: .*lora"):
        load_changes(tmp_path / "model", other, REFUSAL)
