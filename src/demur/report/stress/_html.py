"""``stress.html``: one self-contained page for a reader of policy who was not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from demur.paths import write_text
from demur.report import _words as words
from demur.report._page import inline_picture, page_environment
from demur.report.stress import _limits
from demur.report.stress import _story as story
from demur.report.stress import _tables as tables
from demur.report.stress._draw import draw_stress_figures
from demur.report.stress._read import StressView

PAGE = "stress.html"


def write_stress_report(folder: Path | str) -> Path:
    """Draw all pictures of a stress folder anew and write its page, from its files alone.

    Parameters
    ----------
    folder
        The run folder, as ``demur stress`` leaves it.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RunError
        The folder holds no readable grid.
    MissingDependencyError
        jinja2 or matplotlib is not installed; install ``demur[report]``.
    StorageError
        The disk is full or not writable.
    """
    environment = page_environment()
    pictures = [inline_picture(picture) for picture in draw_stress_figures(folder)]
    view = StressView(folder)
    path = view.folder / PAGE
    write_text(path, environment.get_template("stress.html.j2").render(**_context(view), pictures=pictures))
    return path


def _context(view: StressView) -> dict[str, Any]:
    return {
        "view": view,
        "missing": words.MISSING,
        "lead": story.lead(view),
        "seconds": view.about.get("seconds"),
        "is_done": view.about.get("status", "done") == "done",
        "untouched": story.untouched(view),
        "verdicts": story.verdicts(view),
        "limits": _limits.limits(view),
        "threats": story.threat_model(view.attacks, view.access),
        "attacks": tables.attack_rows(view),
        "outcomes": tables.outcome_tables(view),
        "useful": tables.useful_table(view),
        "differences": tables.difference_table(view),
        "benign": tables.benign_table(view),
        "judges": tables.judge_table(view),
        "agreement": tables.agreement_rows(view),
        "method": method(view),
        "problems": list(dict.fromkeys(view.problems)),
    }


def method(view: StressView) -> dict[str, Any]:
    """How to do it again: hashes, machine, configuration.

    Parameters
    ----------
    view
        The stress folder.
    """
    data = view.about.get("data") or {}
    kinds = {
        "prompts": "prompts to judge by",
        "material": "attackers' data",
        "texts": "texts for perplexity and KL",
    }
    machine = view.about.get("machine") or {}
    return {
        "version": str(view.about.get("version") or words.MISSING),
        "hashes": [(name, str(data[key])) for key, name in kinds.items() if data.get(key)],
        "machine": [(str(key), str(value)) for key, value in machine.items()],
        "config": json.dumps(view.config, indent=2, ensure_ascii=False, default=str) if view.config else None,
    }
