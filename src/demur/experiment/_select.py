"""Choosing the winner of a task: the score first, then the thresholds, on rows that are not the test rows."""

from __future__ import annotations

from typing import Any

from demur.errors import ConfigError, near_match
from demur.experiment._config import Bound, SelectConfig
from demur.metrics import LOWER_IS_BETTER, metric_names
from demur.tasks import Task

FEW_ROWS = 50
"""Below so many rows a choice is said to hang on the draw."""
COSTS = ("latency_ms_p50", "latency_ms_p95", "throughput_per_s", "peak_memory_mb", "size_mb", "fit_s")
ROWS = {"cv": "cross-validated", "valid": "validation"}


def check_select(config: SelectConfig, tasks: list[Task]) -> None:
    """Refuse a figure that the tasks do not have.

    Raises
    ------
    ConfigError
        ``select.metric`` is not a figure of every task, or a threshold's of none.
    """
    figures = [set(metric_names(task)) for task in tasks]
    common, bounded = set.intersection(*figures), set.union(*figures, COSTS)
    for name, allowed in [(config.metric, common), *((name, bounded) for name in config.thresholds)]:
        if name not in allowed:
            listed = ", ".join(sorted(allowed))
            raise ConfigError(f"select: no figure is called '{name}'{near_match(name, allowed)} (known: {listed})")


def select_winner(task: Task, models: list[dict[str, Any]], config: SelectConfig) -> tuple[str | None, str]:
    """Mark each model's failed thresholds and the winner in place.

    Parameters
    ----------
    models
        Results of the task's models, as in ``experiment_results.json``.

    Returns
    -------
    tuple
        The winner's name, or None, and one sentence of why.
    """
    protocol = selection_protocol(models, config)
    known = {*metric_names(task), *COSTS}
    bounds = {name: bound for name, bound in config.thresholds.items() if name in known}
    ranked = []
    for order, model in enumerate(models):
        model["selected"], model["failed_thresholds"] = False, []
        if model["status"] != "ok" or protocol not in model["evaluations"]:
            continue
        figures = _figures(model, protocol)
        value = figures[config.metric]["value"]
        model["failed_thresholds"] = _failed(figures, model, bounds)
        if value is None:
            continue
        signed = -value if config.metric in LOWER_IS_BETTER else value
        ranked.append(
            (bool(model["failed_thresholds"]), -signed, -(figures["f1_macro"]["value"] or 0), order, model)
        )
    if not ranked:
        return None, _why_none(models, protocol)
    ranked.sort(key=lambda entry: entry[:4])
    failed, _, _, _, best = ranked[0]
    if failed:
        return None, (
            f"no model passes every threshold; the best of {len(ranked)} by {config.metric}, {best['model']}, "
            f"fails: {'; '.join(best['failed_thresholds'])}"
        )
    best["selected"] = True
    return best["model"], _why(best, ranked, config, (protocol, len(bounds)))


def selection_protocol(models: list[dict[str, Any]], config: SelectConfig) -> str:
    """The protocol whose rows choose: as configured, or cv where every model went through it unseen.

    Settings that were searched once, on the main training rows, have been chosen on rows of every fold: their
    cross-validated figures flatter, and validation rows choose instead, where there are any.
    """
    if config.on != "auto":
        return config.on
    good = [model for model in models if model["status"] == "ok"]
    if not good or not all("cv" in model["evaluations"] for model in good):
        return "valid"
    if searched_once(good) and any("valid" in model["evaluations"] for model in good):
        return "valid"
    return "cv"


def searched_once(models: list[dict[str, Any]]) -> list[str]:
    """Names of the models whose folds were fitted with settings that rows of those folds had chosen."""
    return [
        model["model"]
        for model in models
        if (search := model.get("search"))
        and not search["nested"]
        and set(model["evaluations"]) - {"valid", "test", "blind"}
    ]


def _figures(model: dict[str, Any], protocol: str) -> dict[str, Any]:
    """Figures to choose by: where every row was cross-validated, only those of training rows."""
    evaluation = model["evaluations"][protocol]
    figures: dict[str, Any] = evaluation.get("choosing", evaluation)["metrics"]
    return figures


def _why_none(models: list[dict[str, Any]], protocol: str) -> str:
    good = [model for model in models if model["status"] == "ok"]
    if good and not any(protocol in model["evaluations"] for model in good):
        remedy = "validation.cv" if protocol == "cv" else "split.valid (or validation.cv)"
        return f"there are no {ROWS[protocol]} rows to choose on; set {remedy}, or give more prompts"
    return "no model of this task could be trained and scored"


def _why(best: dict[str, Any], ranked: list[Any], config: SelectConfig, chosen_on: tuple[str, int]) -> str:
    protocol, bounds = chosen_on
    figure = _figures(best, protocol)[config.metric]
    interval = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    words = f"{'lowest' if config.metric in LOWER_IS_BETTER else 'highest'} {config.metric}, "
    words += f"{figure['value']:.3f}{interval}, n={figure['n']}, of {_count(len(ranked), 'model')}"
    words += f" on the {ROWS[protocol]} rows" + (" less the test and validation rows" if protocol == "cv" else "")
    if figure["n"] < FEW_ROWS:
        words += " (so few that another draw of rows may choose another)"
    passing = [entry for entry in ranked[1:] if not entry[0]]
    if passing:
        second = passing[0][4]
        value = _figures(second, protocol)[config.metric]["value"]
        words += f"; next {second['model']} with {value:.3f}"
    flattered = searched_once([entry[4] for entry in ranked]) if protocol == "cv" else []
    if flattered:
        words += f"; settings of {', '.join(flattered)} were searched once on rows of these folds, which flatters"
    if bounds:
        words += f"; passes {_count(bounds, 'threshold')}"
    higher = [entry[4]["model"] for entry in ranked if entry[0] and entry[1] < ranked[0][1]]
    if higher:
        words += f"; {', '.join(higher)} scored better but failed a threshold"
    return words


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _failed(figures: dict[str, Any], model: dict[str, Any], thresholds: dict[str, Bound]) -> list[str]:
    faults = []
    for name, bound in thresholds.items():
        value = model[name] if name in COSTS else figures.get(name, {}).get("value")
        if value is None:
            faults.append(f"{name} could not be measured")
        elif bound.min is not None and value < bound.min:
            faults.append(f"{name} {value:.4g} is below {bound.min:g}")
        elif bound.max is not None and value > bound.max:
            faults.append(f"{name} {value:.4g} is above {bound.max:g}")
    return faults
