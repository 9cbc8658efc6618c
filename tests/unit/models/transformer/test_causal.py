"""Causal language models classify: told apart from encoders, marked texts, the last token that is no padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.data import Records
from demur.models import load
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._causal import is_causal, mark_texts
from demur.tasks import JAILBREAK, REFUSAL

Maker = Callable[[int], Records]


def fit(folder: Path, rows: Records, **changes: Any) -> TransformerClassifier:
    train = {"epochs": 4, "batch_size": 8, "learning_rate": 0.01}
    values = {"model": str(folder), "max_tokens": 48, "prompt_tokens": 16, "head": "last", "train": train}
    return TransformerClassifier(REFUSAL, TransformerConfig(**values | changes), seed=1).fit(rows)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama", True),
        ("gpt2", True),
        ("qwen3", True),
        ("bert", False),
        ("roberta", False),
        ("xlm-roberta", False),
        ("modernbert", False),
        ("deberta-v2", False),
        ("distilbert", False),
        ("albert", False),
    ],
)
def test_language_models_are_told_from_encoders(kind: str, expected: bool) -> None:
    from transformers import AutoConfig

    assert is_causal(AutoConfig.for_model(kind)) is expected


def test_texts_end_with_the_token_that_ends_texts(tiny_causal: Path) -> None:
    from demur.models._pretrained import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal)
    mark_texts(tokenizer)
    for _ in range(2):
        words = tokenizer.convert_ids_to_tokens(tokenizer("tea", "no")["input_ids"])
        assert words[-1] == "<|im_end|>"
        assert words.count("<|im_end|>") == 2
        assert "<|im_start|>" not in words
        mark_texts(tokenizer)


def test_a_token_that_starts_texts_stays(tiny_causal: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    from demur.models._pretrained import load_tokenizer

    tokenizer = load_tokenizer(tiny_causal)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", pair="<|im_start|> $A $B", special_tokens=[("<|im_start|>", 1)]
    )
    mark_texts(tokenizer)
    words = tokenizer.convert_ids_to_tokens(tokenizer("tea", "no")["input_ids"])
    assert (words[0], words[-1]) == ("<|im_start|>", "<|im_end|>")


def test_a_vocabulary_without_padding_borrows_a_token(tiny_causal: Path, refusals: Maker) -> None:
    classifier = fit(tiny_causal, refusals(12), train={"epochs": 1})
    assert classifier.tokenizer.pad_token == "<|im_end|>"


@pytest.mark.parametrize("head", ["last", "mean", "transformers"])
def test_it_learns_judges_alike_with_padding_and_comes_back(
    tiny_causal: Path, refusals: Maker, tmp_path: Path, head: str
) -> None:
    rows = refusals(24)
    classifier = fit(tiny_causal, rows, head=head)
    assert classifier.training is not None
    losses = [row["loss"] for row in classifier.training.history]
    assert losses[-1] < losses[0]
    together = classifier.predict_proba(rows)
    alone = np.vstack([classifier.predict_proba(rows.take([number])) for number in range(24)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    classifier.save(tmp_path / "model")
    np.testing.assert_allclose(load(tmp_path / "model").predict_proba(rows), together, atol=1e-6)


def test_prompt_and_response_do_not_run_into_each_other(tiny_causal: Path, refusals: Maker) -> None:
    classifier = fit(tiny_causal, refusals(12), train={"epochs": 1})
    split = classifier.row_encoder.encode([["tea ,"], ["no"]]).ids[0].tolist()
    shifted = classifier.row_encoder.encode([["tea"], [", no"]]).ids[0].tolist()
    assert split != shifted


def test_a_gguf_file_can_be_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_causal: Path, refusals: Maker
) -> None:
    from demur.models import _encoder

    monkeypatch.setattr(_encoder, "resolve_causal", lambda name: str(tiny_causal))
    assert len(fit(Path("somewhere.gguf"), refusals(12), train={"epochs": 1}).predict(refusals(3))) == 3


@pytest.mark.slow
def test_the_embedded_language_model_learns_with_adapters(tmp_path: Path) -> None:
    from demur.config import parse_settings
    from demur.models import find_preset

    rows = Records.from_rows(
        [
            {
                "prompt": "Write a poem.",
                "response": ("Sure, here you go." if number % 2 else "I cannot do that.")
                + " Again." * (number % 3),
                "jailbreak": "attack_succeeded" if number % 2 else "attack_failed",
            }
            for number in range(16)
        ]
    )
    _, settings = find_preset("smollm2_lora")
    settings |= {
        "max_tokens": 48,
        "prompt_tokens": 16,
        "train": {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3},
    }
    classifier = TransformerClassifier(JAILBREAK, parse_settings(TransformerConfig, settings), seed=1).fit(rows)
    assert classifier.predict(rows).labels == rows.frame["jailbreak"].to_list()
    classifier.save(tmp_path / "model")
    assert sum(path.stat().st_size for path in (tmp_path / "model").iterdir()) < 60e6
    np.testing.assert_allclose(
        load(tmp_path / "model").predict_proba(rows), classifier.predict_proba(rows), atol=1e-6
    )
