"""The module: one pass, a linear layer a task, saved by task name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demur.errors import ArtifactError, ConfigError
from demur.models.dual import DualConfig
from demur.tasks import JAILBREAK, REFUSAL, Task

Make = Callable[[str], Path]
TONE = Task(name="tone", labels=("calm", "glad", "stern", "terse"))


def build(folder: Path, *tasks: Task, **changes: Any) -> Any:
    from demur.models.dual._module import build_module

    return build_module(folder, DualConfig(**changes), tasks or (REFUSAL, JAILBREAK))


def logits(module: Any) -> Any:
    import torch

    ids, mask = torch.tensor([[2, 5, 6, 3, 0]]), torch.tensor([[1, 1, 1, 1, 0]])
    with torch.no_grad():
        return module.eval()(ids, mask)["logits"].numpy()


def test_each_task_has_a_linear_layer_over_the_masked_mean(make_checkpoint: Make) -> None:
    import torch

    module = build(make_checkpoint("bert")).eval()
    with torch.no_grad():
        hidden = module.encoder(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.numpy()[0]
    weight, bias = (part.detach().numpy() for part in (module.heads.weight, module.heads.bias))
    found = logits(module)[0]
    for share in module.shares():
        np.testing.assert_allclose(found[share], hidden.mean(axis=0) @ weight[share].T + bias[share], atol=1e-5)


def test_shares_are_the_tasks_classes_in_turn(make_checkpoint: Make) -> None:
    module = build(make_checkpoint("bert"), REFUSAL, JAILBREAK, TONE)
    assert [(share.start, share.stop) for share in module.shares()] == [(0, 3), (3, 5), (5, 9)]
    assert logits(module).shape == (1, 9)


def test_padding_changes_no_logit(make_checkpoint: Make) -> None:
    import torch

    module = build(make_checkpoint("bert")).eval()
    with torch.no_grad():
        short = module(torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4, dtype=torch.long))["logits"].numpy()
    np.testing.assert_allclose(logits(module), short, atol=1e-6)


def test_freezing_every_block_trains_the_heads_alone(make_checkpoint: Make) -> None:
    module = build(make_checkpoint("distilbert"), freeze_layers=2)
    trained = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    assert trained == ["heads.weight", "heads.bias"]


def test_a_folder_without_weights_is_refused(make_checkpoint: Make, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((make_checkpoint("bert") / "config.json").read_text())
    with pytest.raises(ConfigError, match="cannot be loaded"):
        build(tmp_path)


def test_saved_layers_are_found_by_task_name_in_any_order(make_checkpoint: Make, tmp_path: Path) -> None:
    from demur.models.dual._module import load_saved_module, save_module

    module = build(make_checkpoint("bert"))
    save_module(module, tmp_path, (REFUSAL, JAILBREAK))
    turned = load_saved_module(tmp_path, DualConfig(), (JAILBREAK, REFUSAL))
    np.testing.assert_allclose(logits(turned)[:, [2, 3, 4, 0, 1]], logits(module), atol=1e-7)


@pytest.mark.parametrize("task", [TONE, Task(name="jailbreak", labels=("no", "some", "all"))])
def test_a_task_without_a_layer_that_fits_is_refused(make_checkpoint: Make, tmp_path: Path, task: Task) -> None:
    from demur.models.dual._module import load_saved_module, save_module

    save_module(build(make_checkpoint("bert")), tmp_path, (REFUSAL, JAILBREAK))
    with pytest.raises(ArtifactError, match=f"no layer for the {len(task.labels)} classes of task '{task.name}'"):
        load_saved_module(tmp_path, DualConfig(), (REFUSAL, task))
