"""Stress the base, harden it, stress both with the same seeds, write the card; each part goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.certify._config import CertifyConfig
from demur.harden import HardenResult, harden
from demur.report.card import RobustnessCard, make_card, write_card
from demur.report.stress import StressView, write_stress_report
from demur.stress import GridProgress, StressResult, run_stress


@dataclass(frozen=True)
class Certified:
    """What the loop gave."""

    folder: Path
    hardened: HardenResult
    stressed: StressResult
    card: RobustnessCard

    def to_json(self) -> dict[str, Any]:
        """The card and how the hardening went, as a JSON object."""
        return {"card": self.card.to_json(), "hardened": self.hardened.to_json()}


def certify(
    config: CertifyConfig,
    out: Path | None = None,
    grid_progress: GridProgress | None = None,
    harden_progress: Callable[[int, int], None] | None = None,
) -> Certified:
    """Stress a model, harden it, stress it again with the same seeds, and write the robustness card.

    Parameters
    ----------
    config
        The loop.
    out
        Run folder; that of the configuration, or ``runs/NAME``, where None. It gets ``stress/``, ``harden/``,
        ``card.json``, ``card.html`` and ``card.pdf``.
    grid_progress, harden_progress
        Told how the parts go.

    Raises
    ------
    ConfigError, DataError, LeakError
        As for :func:`demur.stress.run_stress` and :func:`demur.harden.harden`.
    RunError
        A judge failed on every response, or another run writes to the folder.
    NoMemoryError, StorageError
        Memory or disk ran out; the same call goes on where it stopped.
    MissingDependencyError
        A library is not installed.
    """
    folder = out if out is not None else Path(config.out or f"runs/{config.name}")
    if config.target.adapter is None:
        # An adapter of the target's own is merged by the hardening, and the merged model is the base of both.
        run_stress(config.plan_stress(), folder / "stress", grid_progress)
    hardened = _harden_once(config, folder / "harden", harden_progress)
    both = config.plan_stress(hardened.base, str(hardened.adapter))
    stressed = run_stress(both, folder / "stress", grid_progress)
    write_stress_report(folder / "stress")
    training = json.loads((folder / "harden" / "harden.json").read_text(encoding="utf-8"))
    card = make_card(StressView(folder / "stress"), training, config.title)
    write_card(card, folder)
    return Certified(folder, hardened, stressed, card)


def _harden_once(config: CertifyConfig, folder: Path, progress: Callable[[int, int], None] | None) -> HardenResult:
    """The hardening goes on from its own checkpoints; where it was done, from its last."""
    return harden(config.plan_hardening(), folder, progress)
