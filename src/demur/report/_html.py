"""``report.html``: one self-contained page for a person who was not there.

This module gathers what the template shows; sentences come from ``_story``, tables from ``_sections``,
pictures from ``figures``. The page holds no text of any record, only ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.paths import write_text
from demur.report import _readiness as readiness
from demur.report import _sections as sections
from demur.report import _statistics as statistics
from demur.report import _story as story
from demur.report import _training as training
from demur.report import _words as words
from demur.report._compare import METRICS, Difference, differences, worst_mistakes
from demur.report._page import inline_picture, page_environment
from demur.report._run import RunView
from demur.report._views import TaskView
from demur.report.figures import Picture, draw_figures, read_pictures

_TEMPLATE = "report.html.j2"


def write_report(run_folder: Path | str, pictures: Sequence[Picture] | None = None) -> Path:
    """Write ``report.html`` into a run folder, everything it shows inside it.

    Parameters
    ----------
    run_folder
        A finished run folder.
    pictures
        The pictures to show; by default those in ``images/``, drawn anew where the results have changed.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunError
        The folder holds no readable results.
    MissingDependencyError
        jinja2 or matplotlib is not installed; install ``demur[report]``.
    StorageError
        The disk is full or not writable.
    """
    environment = page_environment()
    run = RunView(run_folder)
    assert run.results  # read first, so that a folder without results is refused before anything is drawn
    if pictures is None:
        found = read_pictures(run.folder)
        pictures = draw_figures(run.folder) if found is None else found
    path = run.folder / "report.html"
    write_text(path, environment.get_template(_TEMPLATE).render(**_context(run, pictures)))
    return path


def _context(run: RunView, pictures: Sequence[Picture]) -> dict[str, Any]:
    tasks = [
        _task(run, task, [picture for picture in pictures if picture.task == task.name]) for task in run.tasks
    ]
    return {
        "run": run,
        "created": str(run.results.get("created") or "")[:16].replace("T", " "),
        "seconds": run.results.get("seconds"),
        "tasks": tasks,
        "counts": {
            "tasks": len(run.tasks),
            "models": len({model.name for task in run.tasks for model in task.models}),
        },
        "level": run.level_words,
        "alpha": f"{1 - run.level:g}",
        "draws": run.draws,
        "seed": run.seed,
        "method": _method(run),
        "problems": list(dict.fromkeys(run.problems)),
        "missing": words.MISSING,
    }


def _task(run: RunView, task: TaskView, pictures: Sequence[Picture]) -> dict[str, Any]:
    found = differences(run, task)
    winner = task.winner
    rows = run.predictions(task.name, winner.name, task.main_protocol) if winner else None
    usable = rows is not None and len(rows) and rows.proba.shape[1] == len(task.labels)
    return {
        "view": task,
        "title": words.task_title(task.name),
        "anchor": task.name,
        "question": story.question(run, task),
        "winner": winner,
        "score": winner.metric("custom_score") if winner else None,
        "f1": winner.metric("f1_macro") if winner else None,
        "external": winner.metric("f1_macro", "blind") if winner else None,
        "protocol": words.protocol_name(task.main_protocol),
        "origin": story.origin(task),
        "why": story.reason(task),
        "standing": story.standing(task, found),
        "cautions": story.cautions(run, task, found),
        "formula": sections.score_formula(task),
        "data": sections.data_table(task),
        "league": sections.league(task),
        "protocols": sections.protocol_table(task),
        "folds": sections.fold_tables(task),
        "costs": sections.cost_rows(task),
        "classes": sections.class_table(task),
        "differences": _named_rivals(task, found),
        "pictures": [inline_picture(picture) for picture in pictures if picture.path.is_file()],
        "mistakes": worst_mistakes(task, rows) if usable and rows is not None else None,
        "wrong": int((rows.called != rows.y).sum()) if usable and rows is not None else None,
        "judged": len(rows) if usable and rows is not None else None,
    } | _tests(run, task, found)


def _tests(run: RunView, task: TaskView, found: Sequence[Difference]) -> dict[str, Any]:
    """What the statistics, the training and the saved models add to a task's part of the page."""
    return {
        "against": statistics.against_all(run, task, found),
        "detectable": statistics.detectable_sentences(run, task),
        "balance": statistics.balance_rows(run, task),
        "told": statistics.told_source(run, task),
        "baselines": statistics.baseline_table(run, task),
        "spreads": training.spread_rows(task),
        "searches": training.search_rows(task),
        "weights": training.weight_rows(run, task),
        "lost_fits": training.lost_fits(task),
        "calibration": readiness.calibration_rows(task),
        "operating": readiness.operating_rows(task),
        "abstention": readiness.abstention_rows(task),
        "diversity": readiness.diversity_blocks(task),
    }


def _named_rivals(task: TaskView, found: Sequence[Difference]) -> list[tuple[Difference, ...]]:
    """Score and macro-F1 against the rules and the runner-up under each protocol, as pairs."""
    rivals = [model.name for model in (task.rules, task.runner_up) if model]
    rows: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        if one.other in rivals:
            rows.setdefault((one.other, one.protocol), []).append(one)
    ordered = sorted(rows, key=lambda key: rivals.index(key[0]))
    return [tuple(rows[key]) for key in ordered if len(rows[key]) == len(METRICS)]


def _method(run: RunView) -> dict[str, Any]:
    about = run.run or {}
    versions = about.get("versions") or run.results.get("versions") or {}
    return {
        "versions": _pairs(versions),
        "machine": _pairs(about.get("machine")),
        "timings": [(name, words.duration(value)) for name, value in _raw_pairs(about.get("timings"))],
        "hashes": _hashes(run),
        "config": json.dumps(run.config, indent=2, ensure_ascii=False, default=str) if run.config else None,
        "cleaning": sections.cleaning_rows(run),
    }


def _hashes(run: RunView) -> list[tuple[str, str]]:
    found = []
    for task in run.tasks:
        data = task.raw.get("data")
        if not isinstance(data, Mapping):
            continue
        for key, name in (("hash", "training and test data"), ("blind_hash", "blind set")):
            if data.get(key):
                found.append((f"{task.name}: {name}", str(data[key])))
    return found or _pairs((run.run or {}).get("data_hashes"))


def _raw_pairs(value: Any) -> list[tuple[str, Any]]:
    return [(str(key), item) for key, item in value.items()] if isinstance(value, Mapping) else []


def _pairs(value: Any) -> list[tuple[str, str]]:
    return [(key, str(item)) for key, item in _raw_pairs(value)]
