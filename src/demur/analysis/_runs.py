"""Comparisons of finished runs from their folders alone: the models of one run, or those of two."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.analysis._analyse import finished_models
from demur.analysis._compare import COMPARED, compare_task
from demur.analysis._config import AnalysisConfig
from demur.analysis._pairs import compare_pairs
from demur.analysis._plain import to_plain
from demur.analysis._predicted import Predicted, predictions_of
from demur.config import parse_settings
from demur.errors import RunError, UsageError, near_match
from demur.metrics import metric_names
from demur.tasks import Task


def read_results(folder: Path | str) -> dict[str, Any]:
    """The contents of a run's ``experiment_results.json``.

    Raises
    ------
    RunError
        There is none, or it is damaged; finish the run with ``demur run``.
    """
    path = Path(folder) / "experiment_results.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise RunError(
            f"{folder} holds no experiment_results.json; give a run folder that 'demur run' finished, "
            "or run it again to finish it"
        ) from None
    except ValueError as error:
        raise RunError(f"{path} is damaged ({error}); run 'demur run' on the folder again") from None
    if not isinstance(found, dict):
        raise RunError(f"{path} holds no mapping; run 'demur run' on the folder again")
    return found


def run_settings(folder: Path | str, metrics: Sequence[str] = ()) -> AnalysisConfig:
    """Draws, level and seed as the run had them; the defaults where it does not say.

    Parameters
    ----------
    folder
        The run folder.
    metrics
        The figures to compare; the defaults where none is named.
    """
    values: dict[str, Any] = {"metrics": tuple(metrics)} if metrics else {}
    try:
        about = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
        values |= {name: about["config"][name] for name in ("draws", "level", "seed") if name in about["config"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return AnalysisConfig(**values)


def compare_run(
    folder: Path | str, tasks: Sequence[str] = (), protocols: Sequence[str] = (), metrics: Sequence[str] = ()
) -> dict[str, Any]:
    """Test the models of a run against each other again, from its results and predictions.

    Parameters
    ----------
    folder
        The run folder.
    tasks, protocols, metrics
        The ones to compare; all tasks and protocols, and the usual figures, where none is named.

    Returns
    -------
    dict
        ``{"settings", "tasks": {task: {"winner", "protocols": {protocol: ...}}}}`` in plain values.

    Raises
    ------
    RunError
        The folder holds no readable results, or no two models can be compared.
    UsageError
        The run has no such task or protocol, or the task no such metric; the message lists those it has.
    """
    results = read_results(folder)
    config = run_settings(folder, metrics)
    found = {}
    for name in _choose(tasks, results.get("tasks") or {}, f"{folder} has no task"):
        raw = results["tasks"][name]
        task = _task(raw, name, metrics)
        statistics = compare_task(task, finished_models(raw), predictions_of(folder, name), config)
        wanted = _choose(protocols, statistics, f"task '{name}' has no two models to compare under")
        found[name] = {
            "winner": raw.get("winner"),
            "protocols": {key: to_plain(statistics[key]) for key in wanted},
        }
    return {"settings": to_plain(config.model_dump()), "tasks": found}


def compare_runs(
    first: Path | str,
    second: Path | str,
    tasks: Sequence[str] = (),
    protocols: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> dict[str, Any]:
    """Test the models of one run against those of the same name in another, and the two winners.

    Parameters
    ----------
    first, second
        The run folders.
    tasks, protocols, metrics
        As for :func:`compare_run`.

    Raises
    ------
    RunError
        A folder holds no readable results, or the two were not made on the same rows.
    UsageError
        As for :func:`compare_run`.
    """
    runs = {side: read_results(folder) for side, folder in (("a", first), ("b", second))}
    config = run_settings(first, metrics)
    shared = {name: None for name in runs["a"].get("tasks") or {} if name in (runs["b"].get("tasks") or {})}
    found = {}
    for name in _choose(tasks, shared, "the two runs share no task"):
        entries = {side: run["tasks"][name] for side, run in runs.items()}
        task = _task(entries["a"], name, metrics)
        _check_cohort(name, entries)
        loads = {"a": predictions_of(first, name), "b": predictions_of(second, name)}
        sections = {}
        for protocol in COMPARED:
            predicted = {
                f"{side}:{model}": rows
                for side, entry in entries.items()
                for model in finished_models(entry)
                if (rows := loads[side](model, protocol)) is not None and len(rows)
            }
            chosen = _counterparts(predicted, entries)
            if chosen:
                _check_rows(name, protocol, predicted)
                pairs = compare_pairs(task, predicted, protocol, config, chosen)
                sections[protocol] = {"models": list(predicted), "pairs": to_plain(pairs)}
        wanted = _choose(protocols, sections, f"task '{name}' has no two models to compare under")
        found[name] = {
            "winner": f"a:{entries['a'].get('winner')}",
            "protocols": {key: sections[key] for key in wanted},
        }
    return {"settings": to_plain(config.model_dump()), "runs": {"a": str(first), "b": str(second)}, "tasks": found}


def _choose(asked: Sequence[str], known: Mapping[str, Any], complaint: str) -> list[str]:
    for name in asked:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(f"{complaint} '{name}' (there: {listed}){near_match(name, list(known))}")
    if not known:
        raise RunError(f"{complaint} any name; run 'demur run' with two models or more, then compare them")
    return list(dict.fromkeys(asked)) or list(known)


def _task(raw: Mapping[str, Any], name: str, metrics: Sequence[str]) -> Task:
    task = parse_settings(Task, raw.get("task") or {}, f"task '{name}' of the results")
    known = metric_names(task)
    for metric in metrics:
        if metric not in known:
            raise UsageError(
                f"task '{name}' has no metric '{metric}' (known: {', '.join(known)}){near_match(metric, known)}"
            )
    return task


def _check_cohort(name: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Same labels, same scoring and same rows, or the figures must not stand side by side."""
    first, second = entries["a"], entries["b"]
    for key, what in (("labels", "labels"), ("fields", "texts"), ("cost", "costs")):
        if first["task"].get(key) != second["task"].get(key):
            raise RunError(f"task '{name}' has other {what} in the two runs; compare runs of the same task")
    hashes = [str((entry.get("data") or {}).get("hash"))[:12] for entry in (first, second)]
    if hashes[0] != hashes[1]:
        raise RunError(
            f"task '{name}' was run on other rows (data hash {hashes[0]} and {hashes[1]}); run both on the same "
            "data to compare them"
        )


def _check_rows(name: str, protocol: str, predicted: Mapping[str, Predicted]) -> None:
    sides = [
        set(next(rows for key, rows in predicted.items() if key.startswith(side)).ids) for side in ("a:", "b:")
    ]
    if sides[0] != sides[1]:
        raise RunError(
            f"the two runs judged other rows of task '{name}' under '{protocol}' ({len(sides[0] & sides[1])} "
            f"shared of {len(sides[0])} and {len(sides[1])}); run both with the same split and seed"
        )


def _counterparts(
    predicted: Mapping[str, Predicted], entries: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str]]:
    pairs = [(f"a:{key[2:]}", f"b:{key[2:]}") for key in predicted if key.startswith("a:")]
    pairs.append((f"a:{entries['a'].get('winner')}", f"b:{entries['b'].get('winner')}"))
    return [pair for pair in dict.fromkeys(pairs) if pair[0] in predicted and pair[1] in predicted]
