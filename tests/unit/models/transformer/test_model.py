"""The transformer family over every architecture: learns, saves, loads, and gives the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.data import Records
from demur.errors import ArtifactError, ConfigError, UsageError
from demur.models import load
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.tasks import PROMPT_RISK, REFUSAL

ARCHITECTURES = ("bert", "roberta", "distilbert", "modernbert", "deberta-v2", "xlm-roberta", "albert")
Make = Callable[[str], Path]


def rows(count: int) -> Records:
    answers = {
        "no_refusal": "yes , here is how",
        "hard_refusal": "sorry , no .",
        "soft_refusal": "rather tea , but",
    }
    listed = [
        {
            "prompt": f"how to make {word} ?",
            "response": answers[label] + " a little" * (number % 5),
            "refusal": label,
        }
        for number in range(count)
        for word, label in [(("bread", "tea")[number % 2], list(answers)[number % 3])]
    ]
    return Records.from_rows(listed)


def settings(folder: Path, **changes: Any) -> TransformerConfig:
    train = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01} | changes.pop("train", {})
    return TransformerConfig(model=str(folder), max_tokens=32, prompt_tokens=12, train=train, **changes)


def fitted(folder: Path, seed: int = 0, **changes: Any) -> TransformerClassifier:
    return TransformerClassifier(REFUSAL, settings(folder, **changes), seed=seed).fit(rows(24))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architectures_own_head_gives_the_same_probabilities_after_loading(
    make_checkpoint: Make, tmp_path: Path, architecture: str
) -> None:
    """With heads of ours: see ``test_presets.py``."""
    classifier = fitted(make_checkpoint(architecture), head="transformers")
    classifier.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(rows(9)), classifier.predict_proba(rows(9)), atol=1e-6)


def test_a_head_over_two_vectors_gives_the_same_probabilities_after_loading(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    classifier = fitted(make_checkpoint("mpnet"), head="cls_mean")
    assert classifier.module.classifier.in_features == 2 * classifier.module.config.hidden_size
    classifier.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(rows(9)), classifier.predict_proba(rows(9)), atol=1e-6)


def test_training_learns_separable_rows(make_checkpoint: Make) -> None:
    classifier = fitted(make_checkpoint("bert"), train={"epochs": 12})
    predicted = classifier.predict(rows(12)).labels
    assert predicted == rows(12).frame["refusal"].to_list()


def test_probabilities_sum_to_one_and_keep_the_order_of_rows(make_checkpoint: Make) -> None:
    classifier = fitted(make_checkpoint("bert"))
    together = classifier.predict_proba(rows(10))
    np.testing.assert_allclose(together.sum(axis=1), 1)
    alone = [classifier.predict_proba(rows(10).take([number]))[0] for number in range(10)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_same_seed_gives_same_probabilities_and_another_seed_others(make_checkpoint: Make) -> None:
    first, second, third = (fitted(make_checkpoint("bert"), seed).predict_proba(rows(6)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, third)


def test_saved_folder_with_transformers_head_loads_in_plain_transformers(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    from transformers import pipeline

    classifier = fitted(make_checkpoint("bert"), head="transformers")
    classifier.save(tmp_path / "model")
    folder = str(tmp_path / "model")
    plain = pipeline("text-classification", model=folder, tokenizer=folder, device="cpu")
    asked = rows(6)
    pairs = [{"text": row["prompt"], "text_pair": row["response"]} for row in asked.frame.iter_rows(named=True)]
    assert [found["label"] for found in plain(pairs)] == classifier.predict(asked).labels


def test_saved_folder_with_mean_head_is_an_encoder_for_plain_transformers(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    from transformers import AutoModel

    fitted(make_checkpoint("bert")).save(tmp_path / "model")
    assert AutoModel.from_pretrained(tmp_path / "model").config.hidden_size == 16


def test_saved_folder_holds_labels_and_no_pickle(make_checkpoint: Make, tmp_path: Path) -> None:
    fitted(make_checkpoint("bert")).save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.safetensors", "head.safetensors", "tokenizer.json", "config.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pth", ".pkl")) for name in names)
    labels = json.loads((tmp_path / "model" / "config.json").read_text())["id2label"]
    assert labels == {"0": "no_refusal", "1": "hard_refusal", "2": "soft_refusal"}


def test_altered_weights_are_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    fitted(make_checkpoint("bert")).save(tmp_path / "model")
    with (tmp_path / "model" / "head.safetensors").open("ab") as handle:
        handle.write(b"\0")
    with pytest.raises(ArtifactError, match=r"head\.safetensors.*was altered"):
        load(tmp_path / "model")


def test_prompt_task_reads_the_prompt_alone(make_checkpoint: Make) -> None:
    data = Records.from_rows(
        [
            {"prompt": "how to make tea ?" if number % 2 else "kill a process", "prompt_risk": label}
            for number, label in enumerate(["benign", "malicious"] * 6)
        ]
    )
    classifier = TransformerClassifier(PROMPT_RISK, settings(make_checkpoint("bert"))).fit(data)
    with_response = data.with_column("response", ["sorry"] * len(data))
    np.testing.assert_array_equal(classifier.predict_proba(data), classifier.predict_proba(with_response))


def test_fields_of_the_settings_override_the_task(make_checkpoint: Make) -> None:
    classifier = fitted(make_checkpoint("bert"), fields=("response",))
    changed = rows(6).with_column("prompt", ["word"] * 6)
    np.testing.assert_array_equal(classifier.predict_proba(rows(6)), classifier.predict_proba(changed))


def test_missing_texts_and_no_rows_are_judged(make_checkpoint: Make) -> None:
    classifier = fitted(make_checkpoint("bert"))
    assert classifier.predict_proba(Records.from_rows([{"prompt": None, "response": None}])).shape == (1, 3)
    assert classifier.predict_proba(rows(2).take([])).shape == (0, 3)


def test_validation_rows_choose_the_epoch(make_checkpoint: Make) -> None:
    classifier = TransformerClassifier(REFUSAL, settings(make_checkpoint("bert"), train={"epochs": 3}))
    classifier.fit(rows(24), rows(9))
    assert classifier.training is not None
    assert classifier.training.best_epoch in {1.0, 2.0, 3.0}
    assert all("score" in row for row in classifier.training.history)


def test_progress_is_told_after_every_step(make_checkpoint: Make) -> None:
    classifier = TransformerClassifier(REFUSAL, settings(make_checkpoint("bert")))
    seen: list[int] = []
    classifier.on_progress = lambda progress: seen.append(progress.step)
    classifier.fit(rows(24))
    assert seen == [1, 2, 3]


def test_training_is_silent(make_checkpoint: Make, capfd: pytest.CaptureFixture[str]) -> None:
    fitted(make_checkpoint("bert"), head="transformers")
    assert capfd.readouterr() == ("", "")


def test_predicting_before_fitting_is_refused() -> None:
    with pytest.raises(UsageError, match="neither fitted nor loaded; call fit"):
        TransformerClassifier(REFUSAL).predict_proba(rows(1))


def test_more_tokens_than_the_model_reads_are_refused(make_checkpoint: Make) -> None:
    config = TransformerConfig(model=str(make_checkpoint("roberta")), max_tokens=132)
    with pytest.raises(ConfigError, match="reads at most 130 tokens; lower it"):
        TransformerClassifier(REFUSAL, config).fit(rows(6))


def test_no_room_for_the_response_is_refused() -> None:
    with pytest.raises(ValueError, match="prompt_tokens=64 leaves the response no room"):
        TransformerConfig(max_tokens=64)
