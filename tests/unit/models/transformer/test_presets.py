"""Short names: each is a preset whose architecture learns, judges alike with padding, and comes back as saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.config import parse_settings
from demur.data import Records
from demur.errors import MissingModelError
from demur.models import _encoder as resolving
from demur.models import list_presets, load
from demur.models._short_names import HUB_MODELS
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._presets import PRESETS
from demur.tasks import REFUSAL

Make = Callable[[str], Path]
Maker = Callable[[int], Records]
DISTINCT = [name for name in HUB_MODELS if name not in ("distilroberta", "xlm_roberta_large")]
"""Without those that differ from another in size alone."""
SMALL = {"max_tokens": 48, "prompt_tokens": 16}


@pytest.fixture(scope="module")
def fitted(make_published: Make, refusals: Maker) -> Callable[[str], Any]:
    """A preset fine-tuned for two epochs, once, with a tiny checkpoint in the place of the hub's."""
    made: dict[str, TransformerClassifier] = {}

    def fit(name: str) -> TransformerClassifier:
        if name not in made:
            train = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3}
            config = parse_settings(TransformerConfig, PRESETS[name] | SMALL | {"train": train})
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(resolving, "fetch_model", lambda hub, tokenizer=None: str(make_published(name)))
                made[name] = TransformerClassifier(REFUSAL, config, seed=1).fit(refusals(36))
        return made[name]

    return fit


def test_every_short_name_is_a_preset_of_the_family() -> None:
    known = list_presets()
    assert all(known[name][0] == "transformer" for name in HUB_MODELS)
    assert all(known[name][1]["model"] == name for name in HUB_MODELS)


def test_the_names_that_were_asked_for_are_there() -> None:
    wanted = "bert distilbert roberta distilroberta albert xlm_roberta xlm_roberta_large deberta_v3 modernbert"
    assert set(wanted.split()) <= set(HUB_MODELS)


def test_each_hub_model_says_why() -> None:
    assert all(known.why and known.hub.count("/") == 1 for known in HUB_MODELS.values())


@pytest.mark.parametrize("name", DISTINCT)
def test_each_architecture_learns_and_comes_back_as_saved(
    fitted: Callable[..., Any], refusals: Maker, tmp_path: Path, name: str
) -> None:
    classifier = fitted(name)
    losses = [row["loss"] for row in classifier.training.history]
    assert losses[-1] < losses[0]
    classifier.save(tmp_path / "model")
    np.testing.assert_allclose(
        load(tmp_path / "model").predict_proba(refusals(12)), classifier.predict_proba(refusals(12)), atol=1e-6
    )


@pytest.mark.parametrize("name", DISTINCT)
def test_padding_changes_no_answer(fitted: Callable[..., Any], refusals: Maker, name: str) -> None:
    classifier, rows = fitted(name), refusals(12)
    alone = np.vstack([classifier.predict_proba(rows.take([number])) for number in range(12)])
    np.testing.assert_allclose(classifier.predict_proba(rows), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "around", "typed"),
    [
        ("bert", ["[CLS]", "[SEP]", "[SEP]"], True),
        ("roberta", ["<s>", "</s>", "</s>", "</s>"], False),
        ("minilm_multilingual", ["<s>", "</s>", "</s>", "</s>"], False),
        ("deberta_v3", ["[CLS]", "[SEP]", "[SEP]"], True),
        ("modernbert", ["[CLS]", "[SEP]", "[SEP]"], False),
    ],
)
def test_rows_have_the_marks_that_the_model_was_trained_with(
    fitted: Callable[..., Any], refusals: Maker, name: str, around: list[str], typed: bool
) -> None:
    classifier = fitted(name)
    encoded = classifier.row_encoder.encode([["make tea"], ["sorry"]])
    words = classifier.tokenizer.convert_ids_to_tokens(encoded.ids[0].tolist())
    assert [word for word in words if word in around] == around
    assert "[UNK]" not in words
    assert "<unk>" not in words
    assert ("token_type_ids" in classifier.input_names()) is typed


def test_modernbert_attends_through_torch_on_a_cpu(fitted: Callable[..., Any]) -> None:
    assert fitted("modernbert").module.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("name", ["deberta_v3", "modernbert"])
def test_weights_are_float32(fitted: Callable[..., Any], name: str) -> None:
    import torch

    module = fitted(name).module
    assert {value.dtype for value in module.parameters()} == {torch.float32}


def test_a_preset_without_a_hub_is_a_missing_model(refusals: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    config = parse_settings(TransformerConfig, PRESETS["roberta"])
    with pytest.raises(MissingModelError, match="model 'FacebookAI/roberta-base' is not in the local cache"):
        TransformerClassifier(REFUSAL, config).fit(refusals(6))
