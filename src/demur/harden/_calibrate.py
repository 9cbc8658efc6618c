"""What the losses need to know before the first step: how large states are, and where objectives point.

Measured once on the base model, on the first pairs that will be trained on: base states never change, so the mean
norm of a layer is a property of the rows, and one that is measured once is the same for every split of a step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from demur.harden._blocks import scale_adapters
from demur.harden._module import BreakerModule, Picks

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PROBE_TOKENS = 20_000
"""Tokens of each kind a probe is fitted on at most."""
_BF16_MOVE = 2.0**-6
"""Relative distance from the base that bf16, whose rounding is up to 2**-9 a value, still shows."""
_FASTEST = 16.0
"""Adapters are made larger by this factor at most, before they are measured again."""


def calibrate(module: BreakerModule, batches: Sequence[dict[str, torch.Tensor]], seed: int) -> None:
    """Fill in the module's buffers: norms for the scaled retain loss, directions for the other objectives.

    Parameters
    ----------
    module
        In place; its base is passed forward, nothing is trained.
    batches
        As the collator makes them.
    seed
        Draws random directions.
    """
    if not module.plan.faithful:
        module.scales.copy_(_mean_norms(module, batches))
    if module.objective == "random_vector":
        drawn = np.random.default_rng([seed, 29]).normal(size=tuple(module.directions.shape))
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        module.directions.copy_(torch.from_numpy(drawn))
    elif module.objective == "probe":
        for number, state in enumerate(module.plan.targets):
            weight, bias = fit_probe(*_collect(module, batches, state))
            module.directions[number].copy_(torch.from_numpy(weight))
            module.biases[number] = bias


def settle_nudge(module: BreakerModule, batch: dict[str, torch.Tensor], moved: float = _BF16_MOVE) -> float:
    """Make nudged adapters larger, in place, until their effect shows at every target layer; gives that effect.

    In half precision a nudge of the size of one step is lost where it is added to a state, and the first steps
    would follow rounding errors.

    Parameters
    ----------
    module
        With nudged adapters.
    batch
        As the collator makes it; its breaker states are looked at.
    moved
        Mean distance from the base that is wanted, relative to the norm of the base.
    """
    found = _nudge_effect(module, batch)
    for _ in range(16):
        if found >= moved:
            break
        # Measured through rounding: nothing may be seen of a nudge that is there.
        scale_adapters(module.model, min(_FASTEST, max(1.5, moved / max(found, 1e-12))))
        found = _nudge_effect(module, batch)
    return found


def _nudge_effect(module: BreakerModule, batch: dict[str, torch.Tensor]) -> float:
    (moved, picks), *_ = _each(module, [batch])
    needed = dict.fromkeys(module.plan.targets, (False, True))
    base, adapted = (module.trace(moved, picks, needed, is_adapted=one) for one in (False, True))
    effects = []
    for state in module.plan.targets:
        before, after = base[state][1], adapted[state][1]
        assert before is not None
        assert after is not None
        effects.append(float((after.float() - before.float()).norm() / before.float().norm()))
    return min(effects)


def fit_probe(retain: NDArray[np.float32], breaker: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """A linear probe between two kinds of states ``(n, d)``: weight ``(d,)`` towards breaker rows, and bias.

    Logistic regression on standardised states, written back for states as they are.
    """
    from sklearn.linear_model import LogisticRegression

    states = np.concatenate([retain, breaker]).astype(np.float64)
    mean, spread = states.mean(axis=0), states.std(axis=0) + 1e-8
    kinds = np.repeat([0, 1], [len(retain), len(breaker)])
    model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=500).fit((states - mean) / spread, kinds)
    weight = model.coef_[0] / spread
    return weight, float(model.intercept_[0] - weight @ mean)


def _mean_norms(module: BreakerModule, batches: Iterable[dict[str, torch.Tensor]]) -> torch.Tensor:
    sums, count = torch.zeros_like(module.scales, dtype=torch.float64), 0
    for batch, picks in _each(module, batches):
        states = module.trace(batch, picks, dict.fromkeys(module.plan.retained, (True, False)))
        count += len(picks.retain)
        for number, state in enumerate(module.plan.retained):
            retain, _ = states[state]
            assert retain is not None
            sums[number] += retain.float().norm(dim=-1).double().sum()
    return (sums / count).float()


def _collect(
    module: BreakerModule, batches: Iterable[dict[str, torch.Tensor]], state: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found: tuple[list[Any], list[Any]] = ([], [])
    for batch, picks in _each(module, batches):
        for kind, values in zip(found, module.trace(batch, picks, {state: (True, True)})[state], strict=True):
            assert values is not None
            kind.append(values.float().cpu().numpy())
    retain, breaker = (np.concatenate(kind)[:_PROBE_TOKENS] for kind in found)
    return retain, breaker


def _each(
    module: BreakerModule, batches: Iterable[dict[str, torch.Tensor]]
) -> Iterable[tuple[dict[str, torch.Tensor], Picks]]:
    device = module.scales.device
    for batch in batches:
        moved = {name: tensor.to(device) for name, tensor in batch.items()}
        yield moved, Picks.of(moved["tokens"], moved["is_breaker"])
