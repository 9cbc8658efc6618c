"""The direction along which the model refuses is taken out of it.

The direction is fitted anew on the model under attack, whatever defence it has; that of the base would test less.

References
----------
Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", NeurIPS 2024, section 2.3 and
appendix C: the layer is chosen by what is left of refusals, among those that leave harmless prompts as they were
(KL of at most 0.1) and are not among the last fifth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from demur.llm import Target, ablate_activations, ablate_weights
from demur.stress._meter import Meter
from demur.stress._protocol import Access, Attack, Setting, Stage
from demur.stress._restore import restoring
from demur.stress.ablation._config import AblationConfig, Mode
from demur.stress.ablation._sweep import Sweep, sweep_layers


class AblationAttack(Attack[AblationConfig]):
    """One direction of refusal, and several, taken out of the residual stream or the weights."""

    name = "ablation"
    access: ClassVar[Access] = "weights"
    title = "The direction along which the model refuses is found and taken out of it, without any training."
    config_type = AblationConfig
    needs = ("harmful_prompts", "harmless_prompts")

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        self.check_material(setting.material)
        meter = Meter(target.module)
        sweep = sweep_layers(target, setting.material, self.config, setting.seed, meter)
        cost = meter.cost(examples=self._count(setting))
        for count in sorted(set(self.config.directions)):
            rows = choose_directions(sweep.directions, count)
            for mode in dict.fromkeys(self.config.modes):
                with ablating(target, sweep.directions[rows], mode) as report:
                    notes = {**_describe(sweep), "layers": [sweep.chosen[row] for row in rows], **report}
                    yield Stage(target, 0, cost, label=f"{mode},directions={count}", notes=notes)

    def _count(self, setting: Setting) -> int:
        return sum(min(len(getattr(setting.material, name)), self.config.prompts) for name in self.needs)


@contextmanager
def ablating(target: Target, directions: Any, mode: Mode) -> Iterator[dict[str, Any]]:
    """Take directions out of a target, for a block; gives what is worth noting.

    Parameters
    ----------
    target
        The model.
    directions
        ``(k, d)``.
    mode
        Out of what.
    """
    if mode == "activations":
        with ablate_activations(target, directions):
            yield {}
        return
    with restoring(target.module):
        report = ablate_weights(target.module, directions)
        yield {"is_exact": report.is_exact, "output": report.output}


def choose_directions(directions: Any, count: int) -> list[int]:
    """Rows of the first directions that are not made of those before them, as many as asked for or there are.

    Parameters
    ----------
    directions
        ``(k, d)`` unit vectors, the best first.
    count
        How many.
    """
    rows: list[int] = []
    for row in range(len(directions)):
        several = np.asarray(directions[[*rows, row]], dtype=np.float64)
        # Neighbouring layers often have one direction: a sum of two such would be taken out by rounding.
        if len(rows) < count and np.linalg.svd(several, compute_uv=False)[-1] > 1e-3:
            rows.append(row)
    return rows


def _describe(sweep: Sweep) -> dict[str, Any]:
    return {"log_odds": sweep.log_odds, "candidates": [one.to_json() for one in sweep.candidates]}
