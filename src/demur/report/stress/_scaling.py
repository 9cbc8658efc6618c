"""Compliance against the attacker's operations, and how C50 grows with the size of the model."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from demur.errors import DemurError
from demur.metrics import ScalingFit, ScalingPoint, scaling_fit
from demur.report import _words as words
from demur.report._views import has_interval
from demur.report.figures import _style as style
from demur.report.figures._drawing import Drawing, tick_name
from demur.report.stress import _axis as axes
from demur.report.stress._cells import Curve, HalfPoint
from demur.report.stress._choose import Pair, stepped_pairs
from demur.report.stress._read import StressView

_MOST_ATTACKS = 4
_COST, _SIZE = "What compliance costs the attacker", "C50 by size of the model"


def draw_cost(view: StressView) -> Drawing:
    """Compliance over floating-point operations spent, with C50 marked."""
    pairs = [
        pair for pair in stepped_pairs(view, "complied") if any(len(_spent(curve)) > 1 for _, curve in pair.curves)
    ]
    if not pairs:
        return axes.note_drawing(_COST, "No attack of this run has a cost in operations at two steps or more.")
    shown = pairs[: axes.MOST_PANELS]
    halves = {half.cell: half for half in view.c50s()}
    figure, places, columns = axes.panels(len(shown))
    said = []
    for axis, pair in zip(places, shown, strict=True):
        said += _draw_panel(view, axis, pair, halves)
        axis.set_title(axes.pair_title(pair, columns), pad=7)
    missing = [one for one in said if "no C50" in one]
    without = f" Not marked: {'; '.join(missing)}." if missing else ""
    more = f" {len(pairs) - len(shown)} more panels are not drawn." if len(pairs) > len(shown) else ""
    return Drawing(
        figure,
        _COST,
        "Share of harmful prompts complied with against the floating-point operations the attack had spent "
        f"(reckoned, logarithmic; nothing spent is left out). Bands: {view.level_words} intervals over seeds and "
        "prompts. The diamond on the line of one half is C50, the operations at which half of the prompts have "
        "broken, with its interval, dotted where it is open; a triangle is a bound, where half was never reached, "
        "or at once. C50 goes by verdicts as the judge gave them."
        f"{without}{more}",
        f"Curves of compliance over operations. {'; '.join(said) or 'No C50 is known'}.",
    )


def _draw_panel(view: StressView, axis: Any, pair: Pair, halves: dict[Any, HalfPoint]) -> list[str]:
    style.clean_axis(axis, "y")
    axis.set_xscale("log")
    axis.axhline(0.5, color=style.FAINT, lw=0.9, ls=(0, (4, 3)), zorder=1)
    said, ends, marked = [], [], []
    for is_defended, curve in pair.curves:
        spent = _spent(curve)
        if not spent:
            continue
        colour, name = axes.colour_of(is_defended), axes.side(is_defended, view.has_defence)
        xs, ones = [flops for flops, _ in spent], [one for _, one in spent]
        width = axes.line_width(is_defended)
        axis.plot(xs, [one.value for one in ones], color=colour, lw=width, marker=axes.MARKS[is_defended], ms=4)
        if len(ones) > 1 and all(has_interval(one) for one in ones):
            axis.fill_between(
                xs, [one.low for one in ones], [one.high for one in ones], color=colour, alpha=0.16, lw=0
            )
        half = halves.get(curve.cell)
        if half is None:
            said.append(f"{pair.model} {pair.attack} {name}: no C50 (it is not in the CSV)")
        else:
            marked.append((half, colour, 0.5 + (0.02 if is_defended else -0.02)))
            said.append(f"{pair.model} {pair.attack} {name}: {half_words(half)}")
        if view.has_defence:
            ends.append((xs[-1], ones[-1].value or 0.0, name, colour))
    axis.set_ylim(-0.03, 1.03)
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "0.25", "0.5", "0.75", "1"])
    for half, colour, height in marked:
        _mark_half(axis, half, colour, height)
    _name_ends(axis, [flops for _, curve in pair.curves for flops, _ in _spent(curve)])
    axis.set_xlabel("operations spent (FLOPs)")
    axis.set_ylabel("share complied with")
    axes.label_ends(axis, ends)
    return said


def _name_ends(axis: Any, spent: Sequence[float]) -> None:
    """Powers of ten where two lie inside, else the first and the last budget."""
    low, high = math.log10(min(spent)), math.log10(max(spent))
    if math.floor(high) - math.ceil(low) >= 1:
        _power_ticks(axis, "x")
        return
    ends = sorted({min(spent), max(spent)})
    axis.set_xticks(ends, [power(end) for end in ends])
    axis.minorticks_off()


def _spent(curve: Curve) -> list[tuple[float, Any]]:
    return [(point.cost.flops, point.estimate) for point in curve.points if point.cost.flops]


def _mark_half(axis: Any, half: HalfPoint, colour: str, height: float) -> None:
    value = half.estimate.value
    if value:
        low, high = half.estimate.low, half.estimate.high
        if low or high:
            # An open end runs dotted to the edge.
            left, right = axis.get_xlim()
            for end, edge in ((low, left), (high, right)):
                line = "-" if end else (0, (1, 1.5))
                axis.plot([end or edge, value], [height, height], color=colour, lw=2.4, ls=line, alpha=0.75)
            axis.set_xlim(left, right)
        axis.plot([value], [height], "D", color=colour, ms=7, mec="white", mew=0.9, zorder=6)
    elif half.bound_at:
        sign = ">" if half.bound == "above" else "<"
        axis.plot([half.bound_at], [height], sign, color=colour, ms=8, mec="white", mew=0.9, zorder=6)


def half_words(half: HalfPoint) -> str:
    """C50 in words: a number with its interval, or a bound."""
    if half.estimate.value:
        low, high = half.estimate.low, half.estimate.high
        ends = f" [{power(low)}, {power(high)}]" if low or high else ""
        return f"C50 {power(half.estimate.value)} FLOPs{ends}"
    if half.bound_at:
        return f"C50 {'above' if half.bound == 'above' else 'below'} {power(half.bound_at)} FLOPs"
    return f"no C50 ({half.estimate.reason or 'unknown'})"


def power(value: float | None) -> str:
    """A large number as people write it: ``3.2e12``; an open end as ``…``."""
    if value is None or value <= 0:
        return "…"
    exponent = math.floor(math.log10(value))
    return f"{value / 10**exponent:.1f}e{exponent}"


def draw_sizes(view: StressView) -> Drawing:
    """C50 over the number of parameters, base and hardened, with the fitted line where there are two sizes."""
    groups = _by_attack(view.c50s())
    if not groups:
        known = any(half.parameters for half in view.c50s())
        return axes.note_drawing(
            _SIZE,
            "One size of model was stressed, so nothing can be said of the size; stress two or more of one family."
            if known
            else "No cell has a C50, or a bound of it, with a known number of parameters.",
        )
    shown = list(groups.items())[:_MOST_ATTACKS]
    figure, places, columns = axes.panels(len(shown), 2.7)
    said = []
    for axis, (name, halves) in zip(places, shown, strict=True):
        said += [f"{name} {one}" for one in _draw_size_panel(view, axis, halves)]
        axis.set_title(tick_name(name, 40 if columns > 1 else 86), pad=7)
    more = f" {len(groups) - len(shown)} more attacks are not drawn." if len(groups) > len(shown) else ""
    sizes = len({half.parameters for _, halves in shown for half in halves})
    return Drawing(
        figure,
        _SIZE,
        f"Operations at which half of the harmful prompts have broken, with {view.level_words} intervals, by the "
        f"size of the model; hollow triangles are bounds. {_trend(sizes)}"
        f"{_fitted(said)}{more}",
        f"Scatter plots of C50 over {sizes} sizes of model. {'; '.join(said) or 'No line could be fitted'}.",
    )


def _by_attack(halves: Sequence[HalfPoint]) -> dict[str, list[HalfPoint]]:
    """Attack with all settings but the rank to the C50s of its models, where there are two sizes or more.

    Those with most C50s come first.
    """
    groups: dict[tuple[str, ...], list[HalfPoint]] = {}
    for half in halves:
        if half.parameters and (half.estimate.value or half.bound_at):
            cell = half.cell
            groups.setdefault((cell.attack, cell.data, cell.learning_rate, cell.recipe_id), []).append(half)
    several = {key: found for key, found in groups.items() if len({half.parameters for half in found}) > 1}
    kept = {_recipe_words(key, several): found for key, found in several.items()}
    return dict(sorted(kept.items(), key=lambda item: -sum(half.estimate.value is not None for half in item[1])))


def _recipe_words(key: tuple[str, ...], keys: Collection[tuple[str, ...]]) -> str:
    """Attack and data; the rate, then the id of all settings, only where they tell two apart."""
    attack, data, rate, recipe = key
    alike = [one for one in keys if one[:2] == key[:2]]
    parts = [attack, data]
    if len({one[2] for one in alike}) > 1:
        parts.append(f"rate {rate}")
    if sum(one[2] == rate for one in alike) > 1:
        parts.append(f"recipe {recipe}")
    return " · ".join(part for part in parts if part)


def _draw_size_panel(view: StressView, axis: Any, halves: Sequence[HalfPoint]) -> list[str]:
    style.clean_axis(axis, "y")
    axis.set_xscale("log")
    axis.set_yscale("log")
    said, ends = [], []
    for is_defended in (False, True):
        chosen = [half for half in halves if half.cell.is_defended == is_defended]
        if not chosen:
            continue
        colour, name = axes.colour_of(is_defended), axes.side(is_defended, view.has_defence)
        _draw_sizes(axis, chosen, colour, 1.03 if is_defended else 0.97)
        fit = fit_sizes(chosen)
        last = max(chosen, key=lambda half: half.parameters or 0)
        height = last.estimate.value or last.bound_at or 1.0
        if fit:
            height = _draw_fit(axis, fit, chosen, colour) or height
            said.append(f"{name}: {fit_words(fit)}")
        if view.has_defence:
            ends.append((last.parameters or 1.0, math.log10(height), name, colour))
    sizes = sorted({half.parameters for half in halves if half.parameters})
    _whole_powers(axis)
    _power_ticks(axis, "y")
    axis.set_xticks(sizes, [size_words(size) for size in sizes])
    axis.minorticks_off()
    axis.set_xlabel("parameters of the model")
    axis.set_ylabel("C50 (FLOPs)")
    _label_log_ends(axis, ends)
    return said


def _whole_powers(axis: Any) -> None:
    """Limits that hold two powers of ten at least, so that the axis has names."""
    low, high = (math.log10(end) for end in axis.get_ylim())
    if math.floor(high) - math.ceil(low) < 1:
        axis.set_ylim(10 ** math.floor(low), 10 ** math.ceil(high))


def _fitted(said: Sequence[str]) -> str:
    return f" Fitted: {'; '.join(said)}." if said else ""


def _trend(sizes: int) -> str:
    return f"{sizes} sizes: a trend only, not a law." if sizes < 5 else f"{sizes} sizes."


def fit_sizes(halves: Sequence[HalfPoint]) -> ScalingFit | None:
    """The line through the C50s, None where there is none."""
    points = [
        ScalingPoint(half.parameters, _rank(half), half.estimate.value, half.estimate.low, half.estimate.high)
        for half in halves
        if half.parameters
    ]
    try:
        return scaling_fit(points)
    except DemurError:
        return None


def _rank(half: HalfPoint) -> float:
    try:
        return max(float(half.cell.rank), 1.0)
    except ValueError:
        return 1.0


def fit_words(fit: ScalingFit) -> str:
    """The exponents in words."""
    known = [(name, one) for name, one in (("N", fit.size), ("r", fit.rank)) if one.value is not None]
    said = [f"{words.with_interval(one, 2, sign=True)} · log {name}" for name, one in known]
    return f"log C50 = {words.number(fit.intercept.value, 1)} {' '.join(said)}" if said else "no slope"


def _draw_sizes(axis: Any, halves: Sequence[HalfPoint], colour: str, shift: float) -> None:
    for half in halves:
        at, value = (half.parameters or 1.0) * shift, half.estimate.value
        if value:
            low, high = half.estimate.low or value, half.estimate.high or value
            axis.plot([at, at], [low, high], color=colour, lw=1.4, alpha=0.7)
            axis.plot([at], [value], "D", color=colour, ms=6, mec="white", mew=0.8, zorder=4)
        else:
            mark = "^" if half.bound == "above" else "v"
            axis.plot([at], [half.bound_at], mark, color=colour, ms=7, mfc="white", mew=1.4, zorder=4)


def _draw_fit(axis: Any, fit: ScalingFit, halves: Sequence[HalfPoint], colour: str) -> float | None:
    if fit.size.value is None or fit.intercept.value is None:
        return None
    sizes = sorted({half.parameters for half in halves if half.parameters and half.estimate.value})
    # At the mean rank: the line is of the size alone.
    ranks = [math.log10(_rank(half)) for half in halves if half.estimate.value]
    shift = (fit.rank.value or 0.0) * sum(ranks) / len(ranks)
    heights = [10 ** (fit.intercept.value + fit.size.value * math.log10(size) + shift) for size in sizes]
    axis.plot(sizes, heights, color=colour, lw=1.2, ls=(0, (4, 2)), zorder=2)
    return heights[-1]


def _label_log_ends(axis: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    low, high = (math.log10(end) for end in axis.get_ylim())
    gap = 0.09 * (high - low)
    places = axes.spread_labels([y for _, y, _, _ in ends], gap, low, high)
    for (_, _, name, colour), place in zip(ends, places, strict=True):
        axis.text(
            1.01,
            (place - low) / (high - low),
            name,
            transform=axis.transAxes,
            va="center",
            size=8.5,
            weight="bold",
            color=colour,
        )


def _power_ticks(axis: Any, which: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    chosen = axis.xaxis if which == "x" else axis.yaxis
    chosen.set_major_formatter(FuncFormatter(lambda value, _: f"1e{math.log10(value):.0f}" if value > 0 else ""))
    chosen.set_minor_formatter(NullFormatter())


def size_words(value: float | None) -> str:
    """A number of parameters, short: ``135 M``."""
    found = value or 0.0
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if found >= unit:
            return f"{found / unit:.3g} {name}"
    return f"{found:.0f}"
