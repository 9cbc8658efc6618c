"""Answers drawn at random for distances, by one rule for a stage and for the untampered base.

The likeliest answers of two models differ or not; chance has no part in them, and nothing that two draws of one
model show belongs beside them. So where evaluation is greedy, answers are drawn beside the judged ones.
"""

from __future__ import annotations

from demur.llm import GenerationConfig
from demur.stress._config import DistanceConfig
from demur.stress._protocol import Stage

_SEED = 15_485_863
"""Far from the seeds of evaluation: equal ones would draw the same answers of the same model."""
_OWN, *NULL = (3, 1, 2)
"""Numbers of draws: a stage's own, and the two of the untampered base."""


def null_generation(generation: GenerationConfig, distance: DistanceConfig, number: int) -> GenerationConfig:
    """How the untampered base is drawn from: as evaluation draws, or at the distance's temperature.

    Parameters
    ----------
    generation
        The evaluation's own way of writing answers.
    distance
        Temperature where that is greedy.
    number
        Of the draw, 1 or 2.
    """
    return _draw(generation, distance, _SEED + number)


def stage_generation(
    stage: Stage, generation: GenerationConfig, distance: DistanceConfig, seed: int
) -> GenerationConfig | None:
    """How a stage is drawn from beside what is judged; None where what is judged was drawn.

    Parameters
    ----------
    stage
        May have a way of writing answers of its own.
    generation
        The evaluation's.
    distance
        Whether it is measured, and at which temperature.
    seed
        Of the cell.
    """
    own = stage.generation or generation
    if not distance.enabled or own.temperature > 0:
        return None
    return _draw(own, distance, _SEED + _OWN + 104_729 * seed)


def _draw(own: GenerationConfig, distance: DistanceConfig, seed: int) -> GenerationConfig:
    warm = own.temperature or distance.temperature
    return own.model_copy(update={"temperature": warm, "seed": seed % 2**31})
