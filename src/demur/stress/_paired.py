"""Two groups of cells on the seeds and stages that both have, for differences on the same prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from demur.stress._group import Floats, Group, count_responses
from demur.stress._jobs import UNTOUCHED


class PairedGroups:
    """A group beside the one it is compared with.

    Parameters
    ----------
    group
        The one that was tampered with, or defended.
    base
        What it is compared with: the untouched model, once for all stages, or the same attack stage by stage.
    """

    def __init__(self, group: Group, base: Group) -> None:
        self._sides = group, base
        self.seeds = [one for one in group.seeds if one in base.seeds]
        self._places = _pair_untouched(group) if _is_untouched(base, group) else _pair_stages(group, base)

    @property
    def stages(self) -> list[tuple[int, str]]:
        """Step and label of each pair."""
        return [self._sides[0].stages[ours] for ours, _ in self._places]

    @property
    def most_tries(self) -> list[int]:
        """Answers to a prompt of which the worst one counts on either side, by stage."""
        ours, theirs = (one.most_tries() for one in self._sides)
        return [max(ours[a], theirs[b]) for a, b in self._places]

    def values(self, rate: str, judge: str, prompts: Sequence[str]) -> tuple[Floats, Floats, list[int]]:
        """Verdicts of both sides ``(seeds, stages, prompts)``, stopped runs carried on, and responses given."""
        raw = [one.values(rate, judge, prompts) for one in self._sides]
        ours, theirs = (
            self._pick(side, group.carry(one))
            for side, (group, one) in enumerate(zip(self._sides, raw, strict=True))
        )
        given = np.where(np.isnan(self._pick(1, raw[1])), np.nan, self._pick(0, raw[0]))
        return ours, theirs, count_responses(given, self._draws())

    def _pick(self, side: int, values: Floats) -> Floats:
        seeds = [self._sides[side].seeds.index(seed) for seed in self.seeds]
        return values[seeds][:, [one[side] for one in self._places]]

    def _draws(self) -> list[list[tuple[object, object]]]:
        """Equal where both sides' responses are the same."""
        ours, theirs = self._sides
        rows = [(ours.draws[ours.seeds.index(one)], theirs.draws[theirs.seeds.index(one)]) for one in self.seeds]
        return [[(a[x], b[y]) for x, y in self._places] for a, b in rows]


def _is_untouched(base: Group, group: Group) -> bool:
    return bool(base.about["attack"] == UNTOUCHED and group.about["attack"] != UNTOUCHED)


def _pair_untouched(group: Group) -> list[tuple[int, int]]:
    return [(place, 0) for place in range(len(group.stages))]


def _pair_stages(group: Group, base: Group) -> list[tuple[int, int]]:
    """Equal stages; a base whose runs were all stopped at saturation stays as it ended."""
    found = []
    is_over = base.has_steps and all(cell["censored"] is not None for cell in base.cells)
    for ours, stage in enumerate(group.stages):
        if stage in base.stages:
            found.append((ours, base.stages.index(stage)))
        elif is_over and group.has_steps and stage[0] > base.stages[-1][0]:
            found.append((ours, len(base.stages) - 1))
    return found
