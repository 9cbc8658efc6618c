"""Draws every picture of a run folder into ``images/``; each kind of picture is drawn by its own module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.report._run import RunView
from demur.report._views import TaskView
from demur.report.figures import _comparison, _confusion, _curves, _features, _ranks, _slices, _training
from demur.report.figures._drawing import Drawing
from demur.report.figures._picture import Picture, write_index
from demur.report.figures._style import save_figure, styled

Draw = Callable[[RunView, TaskView], Drawing | None]


@dataclass(frozen=True)
class _Kind:
    name: str
    draw: Draw


KINDS = (
    _Kind("model_comparison", _comparison.draw_models),
    _Kind("pairs", _ranks.draw_pairs),
    _Kind("critical_difference", _ranks.draw_ranks),
    _Kind("generalisation", _comparison.draw_protocols),
    _Kind("confusion_matrices", _confusion.draw_confusion),
    _Kind("per_class_f1", _comparison.draw_classes),
    _Kind("calibration", _curves.draw_calibration),
    _Kind("roc_curves", _curves.draw_roc),
    _Kind("pr_curves", _curves.draw_pr),
    _Kind("slices_by_source", _slices.draw_sources),
    _Kind("slices_by_answerer", _slices.draw_answerers),
    _Kind("feature_importance", _features.draw_features),
    _Kind("latency_vs_score", _comparison.draw_latency),
    _Kind("learning_curves", _training.draw_learning),
    _Kind("alpha_trajectory", _training.draw_weights),
)


def draw_figures(run_folder: Path | str, progress: Callable[[str], Any] | None = None) -> list[Picture]:
    """Draw the pictures of every task of a run into its ``images/``.

    A picture whose figures the run lacks is left out; pictures of earlier results are removed.

    Parameters
    ----------
    run_folder
        The run folder; it needs ``experiment_results.json``, the predictions where there are any.
    progress
        Called with the name of each picture before it is drawn.

    Raises
    ------
    RunError
        The folder holds no readable results.
    MissingDependencyError
        matplotlib is not installed; install ``demur[report]``.
    StorageError
        The disk is full or not writable.
    """
    run = RunView(run_folder)
    tasks = run.tasks
    images = run.folder / "images"
    pictures = []
    with styled():
        for task in tasks:
            for kind in KINDS:
                name = f"{task.name}_{kind.name}"
                if progress:
                    progress(name)
                drawing = kind.draw(run, task)
                path = images / f"{name}.png"
                if drawing is None:
                    continue
                save_figure(drawing.figure, path)
                pictures.append(
                    Picture(name, path, drawing.title, drawing.caption, drawing.alt, task.name, kind.name)
                )
    write_index(run.folder, pictures)
    return pictures
