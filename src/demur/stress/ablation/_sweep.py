"""Which layer's direction carries refusal: tried one by one on prompts the directions were not fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import UsageError
from demur.llm import Conversation, Target, ablate_activations, refusal_directions, resolve_layers
from demur.stress._meter import Meter
from demur.stress._protocol import Material
from demur.stress.ablation._config import AblationConfig
from demur.stress.ablation._first import (
    Floats,
    find_refusing_tokens,
    first_log_probabilities,
    mean_kl,
    refusal_log_odds,
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate:
    """A layer's direction, tried."""

    layer: int
    log_odds: float
    """That answers to prompts which should be refused begin as a refusal, without the direction."""
    kl: float
    """Of the first token after harmless prompts, to the untouched model."""

    def to_json(self) -> dict[str, Any]:
        """The trial as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Sweep:
    """What was found."""

    log_odds: float
    """Of a refusal, untouched."""
    candidates: tuple[Candidate, ...]
    """All that were tried, by layer."""
    chosen: tuple[int, ...]
    """Layers whose directions may be taken out, the best first."""
    directions: Vectors
    """``(chosen, d)`` unit vectors of those."""


def sweep_layers(target: Target, material: Material, config: AblationConfig, seed: int, meter: Meter) -> Sweep:
    """Find directions on half of the prompts, and try each on the other half.

    Parameters
    ----------
    target
        The model under attack: directions are fitted on it anew.
    material
        Prompts of both kinds.
    config
        Layers and limits.
    seed
        Which prompts are used, and for what.
    meter
        What it costs is added here.

    Raises
    ------
    UsageError
        There are fewer than two prompts of a kind, or no direction leaves harmless prompts as they were.
    """
    fit, judge = _halve(material, config.prompts, seed)
    layers = candidate_layers(config, target.depth)
    directions = refusal_directions(target, fit[0], fit[1], layers)
    meter.add(sum(len(target.prompt_ids(one)) for kind in fit for one in kind))
    tokens_judged = sum(len(target.prompt_ids(one)) for kind in judge for one in kind)

    def look() -> tuple[Floats, Floats]:
        meter.add(tokens_judged)
        refused, answered = (first_log_probabilities(target, kind, config.batch_size) for kind in judge)
        return refused, answered

    plain = look()
    tokens = find_refusing_tokens(*plain)
    tried = []
    for layer, direction in zip(layers, directions, strict=True):
        with ablate_activations(target, direction):
            refused, answered = look()
        tried.append(Candidate(layer, refusal_log_odds(refused, tokens), mean_kl(plain[1], answered)))
    ranked = sorted(
        (place for place, one in enumerate(tried) if one.kl <= config.max_kl),
        key=lambda place: tried[place].log_odds,
    )
    if not ranked:
        least = min(tried, key=lambda one: one.kl)
        raise UsageError(
            f"every direction changes answers to harmless prompts by more than {config.max_kl:g} nats (the least "
            f"is {least.kl:.3g}, of layer {least.layer}); raise max_kl, or give prompts that differ in "
            "nothing else"
        )
    return Sweep(
        refusal_log_odds(plain[0], tokens), tuple(tried), tuple(layers[one] for one in ranked), directions[ranked]
    )


def candidate_layers(config: AblationConfig, depth: int) -> list[int]:
    """Layers to try, without the last ones.

    Parameters
    ----------
    config
        Which are asked for, and the share of the last that is skipped.
    depth
        Number of blocks.

    Raises
    ------
    UsageError
        None is left.
    """
    asked = resolve_layers(config.layers or range(1, depth + 1), depth)
    kept = [layer for layer in asked if 0 < layer <= max(1, depth * (1 - config.skip_last))]
    if not kept:
        raise UsageError(
            f"no layer is left to look for a direction in: of {depth} blocks the last {config.skip_last:.0%} are "
            "skipped; give earlier layers, or lower skip_last"
        )
    return kept


def _halve(
    material: Material, most: int, seed: int
) -> tuple[tuple[list[Conversation], ...], tuple[list[Conversation], ...]]:
    """Prompts of both kinds to fit on, and to judge on."""
    random = np.random.default_rng(seed)
    fit, judge = [], []
    for name in ("harmful_prompts", "harmless_prompts"):
        known: Sequence[Conversation] = getattr(material, name)
        if len(known) < 2:
            raise UsageError(
                f"the attack 'ablation' finds directions on half of the {name} and tries them on the other half, "
                f"and there is {len(known)}; give two at least"
            )
        drawn = [known[place] for place in random.permutation(len(known))[:most]]
        fit.append(drawn[: len(drawn) // 2 + len(drawn) % 2])
        judge.append(drawn[len(drawn) // 2 + len(drawn) % 2 :])
    return tuple(fit), tuple(judge)
