"""A model that cannot fit is refused before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demur.errors import TrainingError
from demur.models.transformer import TransformerClassifier, TransformerConfig
from demur.models.transformer._fits import check_before_loading, count_weights
from demur.tasks import REFUSAL

Make = Callable[[str], Path]


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch, make_checkpoint: Make) -> int:
    """Lets 10 bytes a weight be free; full tuning needs 16, adapters 4."""
    from demur.training import _memory

    free = 10 * count_weights(make_checkpoint("bert"))
    monkeypatch.setattr(_memory, "free_memory", lambda device=None: float(free))
    return free


def test_weights_are_counted_without_loading(make_checkpoint: Make) -> None:
    from transformers import AutoModel

    module = AutoModel.from_pretrained(make_checkpoint("roberta"))
    assert count_weights(make_checkpoint("roberta")) == sum(one.numel() for one in module.parameters())


def test_a_damaged_file_is_left_to_loading(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"no header here")
    assert count_weights(tmp_path) == 0


@pytest.mark.usefixtures("little_memory")
def test_full_tuning_that_cannot_fit_ends_before_loading(
    make_checkpoint: Make, refusals: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from demur.models.transformer import _module

    monkeypatch.setattr(_module, "build_module", lambda *_: pytest.fail("it was loaded"))
    classifier = TransformerClassifier(REFUSAL, TransformerConfig(model=str(make_checkpoint("bert"))))
    with pytest.raises(TrainingError, match=r"training needs about .*weights.*gradient_checkpointing.*LoRA"):
        classifier.fit(refusals(6))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("changes", [{"tuning": "lora"}, {"tuning": "head"}, {"freeze_layers": 2}])
def test_what_trains_less_is_let_through(make_checkpoint: Make, changes: dict[str, Any]) -> None:
    check_before_loading(make_checkpoint("bert"), TransformerConfig(**changes))
