"""Each loss against plain NumPy; what is masked counts for nothing; weights change in place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from demur.errors import ConfigError
from demur.tasks import JAILBREAK, PROMPT_RISK, REFUSAL
from demur.training import (
    ClassLoss,
    DistillationLoss,
    FocalLoss,
    MultiTaskLoss,
    TrainConfig,
    WeightedCrossEntropy,
    make_loss,
    make_multi_loss,
)
from demur.training._losses import split_heads, start_weights

RANDOM = np.random.default_rng(0)
LOGITS, TARGETS, WEIGHTS = RANDOM.normal(size=(7, 3)), RANDOM.integers(0, 3, 7), np.array([0.5, 1.0, 4.0])


def plain_loss(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray, smoothing: float, gamma: float = 0.0
) -> float:
    """Weighted focal loss with label smoothing, written out; gamma 0 is cross entropy."""
    logs = log_softmax(logits, axis=1)
    terms = -weights * (1 - np.exp(logs)) ** gamma * logs
    total, classes = 0.0, logits.shape[1]
    for row, target in enumerate(targets):
        total += (1 - smoothing) * terms[row, target] + smoothing / classes * terms[row].sum()
    return float(total / weights[targets].sum())


def value(loss: torch.nn.Module, logits: np.ndarray, targets: np.ndarray, *more: np.ndarray) -> float:
    return float(loss(torch.tensor(logits), torch.tensor(targets), *(torch.tensor(part) for part in more)))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_plain_numpy(smoothing: float) -> None:
    found = value(WeightedCrossEntropy(WEIGHTS, smoothing), LOGITS, TARGETS)
    assert found == pytest.approx(plain_loss(LOGITS, TARGETS, WEIGHTS, smoothing), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_equals_torch(smoothing: float) -> None:
    wanted = torch.nn.functional.cross_entropy(
        torch.tensor(LOGITS), torch.tensor(TARGETS), torch.tensor(WEIGHTS), label_smoothing=smoothing
    )
    assert value(WeightedCrossEntropy(WEIGHTS, smoothing), LOGITS, TARGETS) == pytest.approx(
        float(wanted), rel=1e-5
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 3.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_focal_loss_equals_plain_numpy(gamma: float, smoothing: float) -> None:
    found = value(FocalLoss(WEIGHTS, gamma, smoothing), LOGITS, TARGETS)
    assert found == pytest.approx(plain_loss(LOGITS, TARGETS, WEIGHTS, smoothing, gamma), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 3.0])
def test_focal_loss_has_a_finite_slope_where_it_is_certain(gamma: float) -> None:
    logits = torch.tensor([[80.0, 0.0], [-80.0, 0.0]], requires_grad=True)
    FocalLoss(np.ones(2), gamma)(logits, torch.tensor([0, 0])).backward()
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("loss", [WeightedCrossEntropy(np.ones(2)), FocalLoss(np.ones(2))])
def test_weights_changed_in_place_change_the_loss(loss: ClassLoss) -> None:
    logits, targets = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    held, before = loss.weights, float(loss(logits, targets))
    loss.set_weights([1, 3])
    assert loss.weights is held
    assert float(loss(logits, targets)) > before


def test_half_precision_logits_are_reckoned_in_float32() -> None:
    loss = WeightedCrossEntropy(np.ones(2))(torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    "loss",
    [
        WeightedCrossEntropy(WEIGHTS, 0.1),
        FocalLoss(WEIGHTS, 2.0, 0.1),
        DistillationLoss(WeightedCrossEntropy(WEIGHTS)),
    ],
)
def test_one_step_lowers_the_loss(loss: torch.nn.Module) -> None:
    logits, targets = torch.zeros(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 1])
    soft = torch.tensor([[0.6, 0.3, 0.1]] * 4)
    before = loss(logits, targets, soft)
    before.backward()
    assert logits.grad is not None
    assert loss(logits.detach() - 0.1 * logits.grad, targets, soft) < before


@pytest.mark.parametrize("loss", [WeightedCrossEntropy(WEIGHTS), FocalLoss(WEIGHTS)])
def test_rows_without_label_count_for_nothing(loss: ClassLoss) -> None:
    masked = TARGETS.copy()
    masked[[1, 4]] = -100
    kept = np.delete(np.arange(7), [1, 4])
    assert value(loss, LOGITS, masked) == pytest.approx(value(loss, LOGITS[kept], TARGETS[kept]))


def multi_loss() -> MultiTaskLoss:
    return MultiTaskLoss({"refusal": WeightedCrossEntropy(WEIGHTS), "jailbreak": WeightedCrossEntropy([1.0, 2.0])})


def test_a_loss_of_heads_is_the_mean_over_labels() -> None:
    logits = {"refusal": torch.tensor(LOGITS), "jailbreak": torch.tensor(LOGITS[:, :2])}
    targets = np.stack([TARGETS, TARGETS % 2], axis=1)
    targets[:3, 0], targets[2:, 1] = -100, -100
    parts = [
        plain_loss(LOGITS[3:], TARGETS[3:], WEIGHTS, 0) * WEIGHTS[TARGETS[3:]].sum(),
        plain_loss(LOGITS[:2, :2], targets[:2, 1], np.array([1.0, 2.0]), 0) * (1 + targets[:2, 1]).sum(),
    ]
    wanted = sum(parts) / (WEIGHTS[TARGETS[3:]].sum() + (1 + targets[:2, 1]).sum())
    assert float(multi_loss()(logits, torch.tensor(targets))) == pytest.approx(wanted, rel=1e-5)


def test_a_row_without_any_label_gets_no_gradient() -> None:
    logits = torch.tensor(np.hstack([LOGITS, LOGITS[:, :2]]), requires_grad=True)
    targets = torch.tensor([[0, 1], [-100, -100], [2, -100]])
    multi_loss()(logits[:3], targets).backward()
    assert logits.grad is not None
    assert float(logits.grad[1].abs().sum()) == 0
    assert float(logits.grad[2, 3:].abs().sum()) == 0
    assert float(logits.grad[2, :3].abs().sum()) > 0


@pytest.mark.parametrize("targets", [[[-100, 1]], [[0, -100]], [[-100, -100]]])
def test_a_batch_without_a_heads_labels_gives_a_number(targets: list[list[int]]) -> None:
    logits = torch.zeros(1, 5, requires_grad=True)
    loss = multi_loss()(logits, torch.tensor(targets))
    loss.backward()
    assert bool(loss.isfinite())
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


def test_a_heads_share_weighs_its_labels() -> None:
    logits, targets = torch.tensor([[4.0, 0, 0, 0, 4.0]]), torch.tensor([[1, 1]])
    losses = {"a": WeightedCrossEntropy(np.ones(3)), "b": WeightedCrossEntropy(np.ones(2))}
    even, favoured = MultiTaskLoss(losses), MultiTaskLoss(losses, {"a": 3})
    assert float(favoured(logits, targets)) > float(even(logits, targets))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_equals_plain_numpy(temperature: float) -> None:
    soft = softmax(RANDOM.normal(size=(7, 3)), axis=1)
    wanted = softmax(np.log(soft) / temperature, axis=1)
    given = log_softmax(LOGITS / temperature, axis=1)
    apart = (wanted * (np.log(wanted) - given)).sum(axis=1).mean() * temperature**2
    loss = DistillationLoss(WeightedCrossEntropy(WEIGHTS), temperature, hard_share=0.3)
    expected = 0.3 * plain_loss(LOGITS, TARGETS, WEIGHTS, 0) + 0.7 * apart
    assert value(loss, LOGITS, TARGETS, soft) == pytest.approx(expected, rel=1e-4)


def test_a_student_that_agrees_with_its_teacher_has_no_soft_loss() -> None:
    loss = DistillationLoss(WeightedCrossEntropy(WEIGHTS), 3.0, hard_share=0.0)
    assert value(loss, LOGITS, TARGETS, softmax(LOGITS, axis=1)) == pytest.approx(0, abs=1e-5)


def test_rows_without_teacher_or_label_learn_from_the_other() -> None:
    soft = softmax(RANDOM.normal(size=(7, 3)), axis=1)
    loss = DistillationLoss(WeightedCrossEntropy(WEIGHTS))
    only_taught = np.full(7, -100)
    assert value(loss, LOGITS, only_taught, soft) == pytest.approx(
        value(DistillationLoss(WeightedCrossEntropy(WEIGHTS), hard_share=0.0), LOGITS, TARGETS, soft) / 2
    )
    soft[:] = np.nan
    assert value(loss, LOGITS, TARGETS, soft) == pytest.approx(plain_loss(LOGITS, TARGETS, WEIGHTS, 0) / 2)
    assert value(loss, LOGITS, TARGETS) == pytest.approx(plain_loss(LOGITS, TARGETS, WEIGHTS, 0))


def test_losses_that_differ_are_written_differently() -> None:
    hard = WeightedCrossEntropy(WEIGHTS)
    losses = [hard, WeightedCrossEntropy(WEIGHTS, 0.1), WeightedCrossEntropy(2 * WEIGHTS)]
    losses += [FocalLoss(WEIGHTS), FocalLoss(WEIGHTS, 2.0)]
    others = [DistillationLoss(hard), DistillationLoss(hard, 3.0), DistillationLoss(hard, hard_share=0.1)]
    others += [MultiTaskLoss({"a": hard}), MultiTaskLoss({"a": hard}, {"a": 2.0})]
    assert len({str(loss) for loss in [*losses, *others]}) == 10


def test_logits_of_heads_come_in_any_of_three_shapes() -> None:
    both, sizes = torch.tensor(np.hstack([LOGITS, LOGITS])), {"a": 3, "b": 3}
    parts = {"b": both[:, 3:], "a": both[:, :3]}
    for shape in (both, [both[:, :3], both[:, 3:]], parts):
        found = split_heads(shape, sizes)
        assert list(found) == ["a", "b"]
        assert torch.equal(found["b"], both[:, 3:])


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, [2 / 3, 2]),
        ({"class_weights": "none"}, [1, 1]),
        ({"loss": "focal"}, [1, 1.5]),
        ({"loss": "focal", "class_weights": "balanced"}, [2 / 3, 3]),
        ({"loss": "focal", "alpha": (1, 5)}, [1, 5]),
        ({"alpha": (1, 5)}, [2 / 3, 10]),
        ({"alpha": (1, 5), "class_weights": "adaptive"}, [2 / 3, 6]),
    ],
)
def test_weights_start_as_the_settings_say(settings: dict[str, object], wanted: list[float]) -> None:
    targets = np.array([0, 0, 0, 1])
    found = start_weights(TrainConfig(**settings), targets, 2, JAILBREAK)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(wanted)


def test_alpha_needs_a_weight_for_each_class() -> None:
    with pytest.raises(ConfigError, match="alpha has 2 weights, but the task has 3 classes"):
        make_loss(TrainConfig(alpha=(1, 2)), TARGETS, 3)


def test_configuration_chooses_the_loss() -> None:
    focal = make_loss(TrainConfig(loss="focal", gamma=2), TARGETS, 3, PROMPT_RISK)
    assert isinstance(focal, FocalLoss)
    assert (focal.gamma, focal.weights.tolist()) == (2, [1, 1, 1.5])
    plain = make_loss(TrainConfig(label_smoothing=0.1), TARGETS, 3)
    assert isinstance(plain, WeightedCrossEntropy)
    assert plain.label_smoothing == 0.1


def test_each_head_is_balanced_by_its_own_labels() -> None:
    targets = np.array([[0, 0], [0, -100], [1, 1], [-100, 1], [-100, 1]])
    losses = make_multi_loss(TrainConfig(), targets, {"a": REFUSAL, "b": JAILBREAK}).class_losses()
    assert losses["a"].weights.tolist() == pytest.approx([0.75, 1.5, 1])
    assert losses["b"].weights.tolist() == pytest.approx([2, 2 / 3])
