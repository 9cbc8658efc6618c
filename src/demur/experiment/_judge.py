"""From predictions to figures: pooled, of each held-out value or fold, over folds, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from demur.experiment._config import ExperimentConfig
from demur.metrics import Bootstrap, evaluate
from demur.models import Thresholds, check_ready
from demur.tasks import Task


def judge_frame(
    task: Task, frame: pl.DataFrame, config: ExperimentConfig, draws: int | None = None
) -> dict[str, Any]:
    """The evaluation of a frame of predictions, as in ``experiment_results.json``."""
    probabilities = frame.select(f"p_{number}" for number in range(len(task.labels))).to_numpy()
    evaluation = evaluate(
        task,
        frame.get_column("y").to_numpy(),
        probabilities,
        frame.get_column("group").to_list(),
        draws=config.draws if draws is None else draws,
        level=config.level,
        seed=config.seed,
    )
    return evaluation.to_json()


def judge_protocol(
    task: Task, protocol: str, frame: pl.DataFrame, config: ExperimentConfig, held: Sequence[str]
) -> dict[str, Any]:
    """A protocol's evaluation over all its rows, with ``folds`` where there are several fits.

    A held-out value has intervals of its own. Folds of cross-validation have none; they have a mean and a
    standard deviation (``over_folds``), and a second evaluation without the held rows (``choosing``), by which a
    winner may be chosen.

    Parameters
    ----------
    held
        Ids of the test rows, which report, and of the validation rows, whose thresholds promise something only of
        a model that was not chosen on them.
    """
    found = judge_frame(task, frame, config)
    if protocol == "cv":
        found["folds"] = _judge_folds(task, frame, config, draws=0)
        found["over_folds"] = spread(list(found["folds"].values()))
        chosen_on = frame.filter(~pl.col("id").is_in(list(held)))
        found["choosing"] = judge_frame(task, chosen_on, config) if chosen_on.height else found
    elif protocol.startswith("leave_one"):
        found["folds"] = _judge_folds(task, frame, config, draws=None)
    return found


def judge_ready(
    thresholds: Thresholds, frames: Mapping[str, pl.DataFrame], config: ExperimentConfig
) -> dict[str, Any]:
    """What the saved model's thresholds do on test and blind rows; empty where it has none.

    Parameters
    ----------
    frames
        Side to predictions by the saved model.
    """
    if thresholds == Thresholds():
        return {}
    intervals = Bootstrap(draws=config.draws, level=config.level, seed=config.seed)
    found = {}
    for side in ("test", "blind"):
        if side in frames:
            frame = frames[side]
            y, groups = frame.get_column("y").to_numpy(), frame.get_column("group").rank("dense").to_numpy()
            probabilities = frame.select(column for column in frame.columns if column.startswith("p_")).to_numpy()
            found[side] = check_ready(thresholds, y, probabilities, groups, intervals)
    return found


def judge_seeds(
    task: Task, frames: Mapping[int, Mapping[str, pl.DataFrame]], config: ExperimentConfig
) -> dict[str, Any] | None:
    """Every figure of the main split for each seed, its mean and standard deviation; None with one seed.

    Parameters
    ----------
    frames
        Seed to protocol to predictions, the seed of the saved model first.
    """
    if len(frames) < 2:
        return None
    seeds = list(frames)

    def values(protocol: str) -> dict[str, dict[str, Any]]:
        judged = [judge_frame(task, frames[seed][protocol], config, draws=0) for seed in seeds]
        return spread(judged, keep=True)

    found = {protocol: values(protocol) for protocol in frames[seeds[0]]}
    return {"seeds": seeds, "n": len(seeds), "saved": seeds[0], "evaluations": found}


def spread(evaluations: Sequence[Mapping[str, Any]], keep: bool = False) -> dict[str, dict[str, Any]]:
    """Mean and standard deviation (``ddof`` 1; null of one value) of each figure over evaluations.

    Parameters
    ----------
    keep
        Also keep the values, in order; a figure that is missing in one evaluation is null there.
    """
    found = {}
    for name in evaluations[0]["metrics"]:
        values = [evaluation["metrics"].get(name, {}).get("value") for evaluation in evaluations]
        known = np.array([value for value in values if value is not None], dtype=np.float64)
        if not len(known):
            continue
        figure: dict[str, Any] = {
            "mean": float(known.mean()),
            "std": float(known.std(ddof=1)) if len(known) > 1 else None,
            "n": len(known),
        }
        found[name] = figure | ({"values": values} if keep else {})
    return found


def _judge_folds(
    task: Task, frame: pl.DataFrame, config: ExperimentConfig, draws: int | None
) -> dict[str, dict[str, Any]]:
    values = frame.get_column("fold").unique(maintain_order=True).to_list()
    return {value: judge_frame(task, frame.filter(pl.col("fold") == value), config, draws) for value in values}
