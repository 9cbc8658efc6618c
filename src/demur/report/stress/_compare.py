"""Curves over steps of training: refusals, compliance and distance of the base and of the hardened model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing
from demur.report.stress import _axis as axes
from demur.report.stress._cells import Curve
from demur.report.stress._choose import Pair, stepped_pairs
from demur.report.stress._read import StressView

_SPOKEN = 6


@dataclass(frozen=True)
class _Kind:
    metric: str
    title: str
    label: str
    sentence: str
    is_share: bool = True


_KINDS = {
    "RRR": _Kind(
        "rrr",
        "What is left of refusals",
        "share refused (RRR)",
        "Refusal robustness rate: share of harmful prompts that are refused, hard or soft. High is safe.",
    ),
    "CE": _Kind(
        "ce",
        "Compliance error",
        "share not refused (CE)",
        "Compliance error as it is usually given, 1 − RRR: it counts incoherent text as if it were compliance, so "
        "the dashed line shows the share that truly complied. Low is safe.",
    ),
    "RD": _Kind(
        "rd_all_median",
        "How far responses moved",
        "distance (RD)",
        "Representation distance: median over prompts of 1 − cosine between sentence embeddings of the responses "
        "and those of the untampered base, less what two samples of that base differ by; all of them drawn alike. "
        "0: no further than by chance.",
        False,
    ),
}


def draw_compare(view: StressView, kind: str) -> Drawing:
    """Curves of one figure over steps, base against hardened, with bands over seeds.

    Parameters
    ----------
    view
        The stress folder.
    kind
        ``RRR``, ``CE`` or ``RD``.
    """
    about = _KINDS[kind]
    pairs = [pair for pair in stepped_pairs(view, about.metric) if any(one.points for _, one in pair.curves)]
    if not pairs:
        return axes.note_drawing(about.title, _why_not(view, about))
    shown = pairs[: axes.MOST_PANELS]
    figure, places, columns = axes.panels(len(shown))
    dashed = {curve.cell: curve for curve in view.curves("complied")} if kind == "CE" else {}
    bounds = (0.0, 1.0) if about.is_share else _bounds(shown)
    for axis, pair in zip(places, shown, strict=True):
        _draw_panel(view, axis, pair, bounds, columns)
        for is_defended, curve in pair.curves:
            _draw_dashed(axis, pair, dashed.get(curve.cell), axes.colour_of(is_defended))
        axis.set_title(axes.pair_title(pair, columns), pad=7)
        axis.set_ylabel(about.label)
    return Drawing(figure, about.title, _caption(view, about, shown, len(pairs)), _alt(view, about, shown))


def _draw_panel(view: StressView, axis: Any, pair: Pair, bounds: tuple[float, float], columns: int) -> None:
    style.clean_axis(axis, "y")
    steps = _step_axis(pair)
    ends = []
    for is_defended, curve in pair.curves:
        if not curve.points:
            continue
        colour = axes.colour_of(is_defended)
        _draw_curve(axis, steps, curve, colour, is_defended)
        last = curve.points[-1]
        name = axes.side(is_defended, view.has_defence)
        if view.has_defence:
            ends.append((steps.place(last.step), last.estimate.value or 0.0, name, colour))
    air = 0.03 * (bounds[1] - bounds[0])
    axis.set_ylim(bounds[0] - air, bounds[1] + air)
    if bounds == (0.0, 1.0):
        axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])
    steps.dress(axis, 9 if columns > 1 else 14)
    axes.label_ends(axis, ends)


def _step_axis(pair: Pair) -> axes.StepAxis:
    return axes.StepAxis.of([point for _, curve in pair.curves for point in curve.points])


def _draw_curve(axis: Any, steps: axes.StepAxis, curve: Curve, colour: str, is_defended: bool) -> None:
    width, mark = axes.line_width(is_defended), axes.MARKS[is_defended]
    points = curve.points
    xs = [steps.place(point.step) for point in points]
    ys = [point.estimate.value for point in points]
    axis.plot(xs, ys, color=colour, lw=width, marker=mark, ms=4.5, mec="white", mew=0.6, zorder=4)
    bands = [(x, one.estimate) for x, one in zip(xs, points, strict=True) if has_interval(one.estimate)]
    if len(bands) > 1:
        low, high = [one.low for _, one in bands], [one.high for _, one in bands]
        axis.fill_between([x for x, _ in bands], low, high, color=colour, alpha=0.16, lw=0, zorder=2)
    elif bands:
        axes.draw_interval(axis, xs[0], points[0], colour)
    if 1 < len(curve.seeds) < axes.FEW_SEEDS:
        for seed in curve.seeds.values():
            at = [steps.place(point.step) for point in seed]
            axis.plot(at, [point.estimate.value for point in seed], ".", color=colour, ms=3.2, alpha=0.6, zorder=3)
    if points[-1].is_censored:
        axis.plot([xs[-1]], [ys[-1]], "o", ms=9, mfc="none", mec=colour, mew=1.3, zorder=5)


def _draw_dashed(axis: Any, pair: Pair, curve: Curve | None, colour: str) -> None:
    if curve is None or not curve.points:
        return
    steps = _step_axis(pair)
    known = [point for point in curve.points if point.step in steps.steps]
    axis.plot(
        [steps.place(point.step) for point in known],
        [point.estimate.value for point in known],
        color=colour,
        lw=1.2,
        ls=(0, (4, 2)),
        zorder=3,
    )


def _bounds(pairs: Sequence[Pair]) -> tuple[float, float]:
    values = [
        value
        for pair in pairs
        for _, curve in pair.curves
        for point in curve.points
        for value in (point.estimate.value, point.estimate.low, point.estimate.high)
        if value is not None
    ]
    return min(0.0, *values), max(0.2, *values)


def _why_not(view: StressView, about: _Kind) -> str:
    curves = view.curves(about.metric)
    if not curves:
        return f"{about.label[:1].upper()}{about.label[1:]} was not measured in this run."
    reason = next((curve.missing for curve in curves if curve.missing), "")
    if reason and not any(curve.points for curve in curves):
        return f"There is no figure to draw: {reason}."
    return "No attack of this run has several steps, so there is no curve; the bars show what each reached."


def _caption(view: StressView, about: _Kind, shown: Sequence[Pair], total: int) -> str:
    curves = [curve for pair in shown for _, curve in pair.curves]
    seeds = max((len(curve.seeds) for curve in curves), default=0)
    counts = [point.estimate.n for curve in curves for point in curve.points]
    rows = f" {_between(counts)} responses a point." if any(counts) else ""
    bands = (
        f"{view.level_words} intervals over seeds and prompts" if about.is_share else _distance_bands(view, seeds)
    )
    parts = [about.sentence, f"Bands: {bands}.{rows}"]
    parts.append(axes.few_words(view, seeds))
    if any(curve.points and curve.points[-1].is_censored for curve in curves):
        parts.append("A ring: the run was stopped there as saturated.")
    others = sum(pair.others for pair in shown)
    if others:
        parts.append(
            f"Each panel shows the setting under which most was complied with, {_settings(shown)}; {others} "
            f"milder setting{'' if others == 1 else 's'} stand in the CSV."
        )
    if total > len(shown):
        parts.append(f"{total - len(shown)} more panels are not drawn.")
    return " ".join(parts)


def _distance_bands(view: StressView, seeds: int) -> str:
    """Distances are reckoned for each seed, and only then joined."""
    if seeds == 1:
        return f"{view.level_words} intervals over prompts"
    if seeds < 3:
        return "none over fewer than three seeds"
    return f"Student's 95 % intervals over {seeds} seeds, which do not hold the choice of prompts"


def _settings(shown: Sequence[Pair]) -> str:
    named = dict.fromkeys(pair.cell.setting for pair in shown if pair.others)
    return words.join_words(list(named)[:4])


def _between(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"n = {words.count(low)}" if low == high else f"n = {words.count(low)} to {words.count(high)}"


def _alt(view: StressView, about: _Kind, shown: Sequence[Pair]) -> str:
    said = []
    for pair in shown[:_SPOKEN]:
        for is_defended, curve in pair.curves:
            if not curve.points:
                continue
            first, last = curve.points[0], curve.points[-1]
            said.append(
                f"{pair.model} {pair.attack} {axes.side(is_defended, view.has_defence)} from "
                f"{words.number(first.estimate.value, 2)} at step {first.step} to "
                f"{words.with_interval(last.estimate, 2)} at step {last.step}"
            )
    return f"Curves of the {about.label} over steps of training: {'; '.join(said)}."
