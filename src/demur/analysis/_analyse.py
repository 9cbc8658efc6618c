"""The statistics of a finished task, as they go into ``experiment_results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demur.analysis._balance import Balance, count_labels, table_balance
from demur.analysis._baselines import score_baselines
from demur.analysis._compare import compare_task
from demur.analysis._config import AnalysisConfig
from demur.analysis._confound import check_confound, confound_warnings
from demur.analysis._plain import to_plain
from demur.analysis._predicted import Loader
from demur.data import Records
from demur.tasks import Task

_SPLITS = ("train", "valid", "test")


def analyse_task(
    task: Task,
    records: Records | None,
    results: Mapping[str, Any],
    load: Loader,
    config: AnalysisConfig | None = None,
) -> dict[str, Any]:
    """Which differences between the models of a task are real, and whether its source explains its labels.

    Parameters
    ----------
    task
        The task.
    records
        Its labelled rows with groups; None leaves out what needs their texts.
    results
        The task's entry of ``experiment_results.json``: ``models``, ``winner``, ``data``.
    load
        Reader of the predictions, as of :func:`predictions_of`.
    config
        Draws, level, seed and figures.

    Returns
    -------
    dict
        Plain values: ``settings``, ``protocols`` (pairs, ranks, smallest detectable differences), ``balance``,
        ``confound`` (``told``, ``baselines``) and ``warnings``, sentences to show. What cannot be had is left
        out or has a ``reason``.
    """
    config = config or AnalysisConfig()
    protocols = compare_task(task, finished_models(results), load, config)
    balances = check_balance(task, records, results, config.seed)
    winner = results.get("winner")
    baselines = score_baselines(task, str(winner), load, records, config) if winner else []
    told = check_confound(records, task, config) if records is not None and len(records) else None
    return {
        "settings": to_plain(config.model_dump()),
        "protocols": to_plain(protocols),
        "balance": to_plain(balances),
        "confound": {"told": to_plain(told), "baselines": to_plain(baselines)},
        "warnings": confound_warnings(task, balances, baselines, told),
    }


def finished_models(results: Mapping[str, Any]) -> list[str]:
    """Names of a task's models that gave a result, in order."""
    return [str(model["model"]) for model in results.get("models") or () if model.get("status") == "ok"]


def check_balance(task: Task, records: Records | None, results: Mapping[str, Any], seed: int = 0) -> list[Balance]:
    """Labels by split, data and blind set, source, and answering model, each with its test.

    Parameters
    ----------
    task
        The task.
    records
        Its labelled rows; without them only splits are compared.
    results
        The task's entry of ``experiment_results.json``; its ``data`` says what each split holds.
    seed
        Seed of permutations.
    """
    data = results.get("data") or {}
    classes = {
        str(name): [int((split.get("classes") or {}).get(label, 0)) for label in task.labels]
        for name, split in data.items()
        if isinstance(split, Mapping)
    }
    splits = [name for name in _SPLITS if name in classes]
    found = [_table("split", task, splits, classes, seed)] if len(splits) > 1 else []
    if "blind" in classes and splits:
        classes["data"] = np.sum([classes[name] for name in splits], axis=0).tolist()
        found.append(_table("blind", task, ["data", "blind"], classes, seed))
    if records is not None and len(records):
        y = records.targets(task)
        for name, column in (("source", "source"), ("answerer", "model")):
            values = list(records.column(column))
            if len({value for value in values if value is not None}) > 1:
                found.append(count_labels(name, task.labels, y, values, seed))
    return found


def _table(name: str, task: Task, values: Sequence[str], counts: Mapping[str, list[int]], seed: int) -> Balance:
    return table_balance(name, task.labels, values, [counts[value] for value in values], seed=seed)
