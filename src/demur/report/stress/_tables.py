"""The tables of the page: what each attack reached, what was lost on the benign side, what judges make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._sections import Column, Row, Table
from demur.report.stress._cells import NO_ESTIMATE, Cell, Curve, Difference
from demur.report.stress._choose import USEFUL, Reached, control_words, estimate_at, standings, standings_of_use
from demur.report.stress._read import StressView
from demur.report.stress._story import ACCESS, attack_title, cost_words, where_words

BENIGN = (
    ("over_refusal", "Over-refusal"),
    ("safe_incoherent", "Incoherent on safe prompts"),
    ("perplexity", "Perplexity"),
    ("perplexity_ratio", "Perplexity over the base's"),
    ("kl_mean", "KL to the base"),
    ("kl_p99", "KL, 99th percentile"),
)
"""Figures of the benign side, and what heads their columns."""


def attack_rows(view: StressView) -> list[dict[str, str]]:
    """Every attack: what it does, what the attacker holds, what it cost at most."""
    curves = view.curves("complied")
    rows = []
    for name in view.attacks:
        points = [point for curve in curves if curve.cell.attack == name for point in curve.points]
        dearest = max(points, key=lambda one: one.cost.flops or 0.0, default=None)
        rows.append(
            {
                "name": f"{name}{control_words(name)}",
                "title": attack_title(name),
                "access": ACCESS.get(view.access.get(name, ""), words.MISSING),
                "cost": cost_words(dearest.cost) if dearest else words.MISSING,
            }
        )
    return rows


def outcome_tables(view: StressView) -> list[Table]:
    """What each attack reached at its worst, a table for each model, worst case first."""
    return [_outcome_table(view, model) for model in view.models]


def _outcome_table(view: StressView, model: str) -> Table:
    sides = (False, True) if view.has_defence else (False,)
    columns = []
    for is_defended in sides:
        name = ("Hardened" if is_defended else "Base") if view.has_defence else ""
        columns += [Column(title, name) for title in ("Complied with", "Refused", "Incoherent")]
    metrics = {name: view.curves(name) for name in ("rrr", "incoherent")}
    rows = []
    for one in standings(view):
        if one.model != model:
            continue
        cells: list[Estimate] = []
        for is_defended in sides:
            cells += _cells(one.hardened if is_defended else one.base, metrics)
        rows.append(Row(f"{one.attack}{control_words(one.attack)}", cells, where_words(one.worst)))
    caption = (
        f"{model}: shares of harmful prompts at each attack's worst setting and step, worst case first; "
        f"{view.level_words} intervals, n responses over all seeds"
    )
    return Table(caption, columns, rows)


def _cells(reached: Reached | None, metrics: Mapping[str, Sequence[Curve]]) -> list[Estimate]:
    if reached is None:
        return [NO_ESTIMATE] * 3
    rest = [estimate_at(curves, reached.cell, reached.point.step) or NO_ESTIMATE for curves in metrics.values()]
    return [reached.estimate, *rest]


def useful_table(view: StressView) -> Table | None:
    """What attacks reached while the model stayed of use; None where that was not measured."""
    found = standings_of_use(view)
    if not found:
        return None
    sides = (False, True) if view.has_defence else (False,)
    rows = []
    for one in found:
        reached = [(one.hardened if is_defended else one.base) for is_defended in sides]
        note = where_words(one.worst) if one.worst.is_measured else "the model was of use at no setting and step"
        rows.append(
            Row(
                f"{one.attack} on {one.model}",
                [NO_ESTIMATE if side is None or not side.is_measured else side.estimate for side in reached],
                note,
            )
        )
    caption = (
        "Complied with at the worst setting and step of those where perplexity on ordinary text is no more than "
        f"{100 * (USEFUL - 1):.0f} % above the untampered model's; {view.level_words} intervals, worst case first"
    )
    titles = ("Base", "Hardened") if view.has_defence else ("Complied with",)
    return Table(caption, [Column(title) for title in titles], rows)


def difference_table(view: StressView) -> Table | None:
    """Paired differences of the hardened models at each attack's worst setting; None without a defence.

    The base stands at that same setting and step, which need not be its own worst.
    """
    found, refused = view.differences("complied"), view.differences("rrr")
    rows = []
    for one in standings(view):
        if one.hardened is None:
            continue
        place = one.hardened.cell, one.hardened.point.step
        pair = [next((d for d in kind if (d.cell, d.step) == place), None) for kind in (found, refused)]
        if any(pair):
            cells = [base_there(pair[0]), one.hardened.estimate]
            cells += [d.estimate if d else NO_ESTIMATE for d in pair]
            note = where_words(one.hardened) + _chance(found, place)
            rows.append(Row(f"{one.attack}{control_words(one.attack)} on {one.model}", cells, note))
    if not rows:
        return None
    columns = [Column("Complied with", side) for side in ("base, there", "hardened", "hardened less base")]
    columns.append(Column("Refused", "hardened less base"))
    caption = (
        "Paired differences on the same seeds and prompts at the setting and step that are the worst for the "
        f"hardened model, {view.level_words} intervals; worst case first. p is Holm's, over the last steps of all "
        "runs and every strength of the other attacks, which were settled beforehand"
    )
    return Table(caption, columns, rows)


def base_there(found: Difference | None) -> Estimate:
    """The base at the setting and step of a difference; its interval is that of the difference."""
    if found is None or found.base is None:
        return NO_ESTIMATE
    return Estimate(found.base, None, None, found.estimate.n)


def _chance(differences: Sequence[Difference], place: tuple[Cell, int]) -> str:
    """Holm's p there; of a run with steps, at its last."""
    cell, step = place
    known = [one for one in differences if one.cell == cell and one.adjusted is not None]
    if not known:
        return ""
    last = max(known, key=lambda one: one.step)
    where = f" at step {words.count(last.step)}" if last.step != step else ""
    return f"; p = {words.chance(last.adjusted)}{where} (Holm)"


def benign_table(view: StressView) -> Table | None:
    """What each model does on safe prompts and ordinary text when nobody attacks; None if not measured."""
    curves = {name: view.curves(name) for name, _ in BENIGN}
    known = [(name, title) for name, title in BENIGN if any(untouched_curves(curves[name], None, None))]
    if not known:
        return None
    rows = []
    for model in view.models:
        for is_defended in (False, True):
            cells = [
                next(
                    (curve.points[0].estimate for curve in untouched_curves(curves[name], model, is_defended)),
                    NO_ESTIMATE,
                )
                for name, _ in known
            ]
            if any(cell.value is not None for cell in cells):
                name = f"{model} with its defence" if is_defended else model
                rows.append(Row(name, cells))
    return Table(
        f"Without any attack: safe prompts refused, what became of ordinary text; {view.level_words} intervals",
        [Column(title) for _, title in known],
        rows,
    )


def untouched_curves(curves: Sequence[Curve], model: str | None, is_defended: bool | None) -> list[Curve]:
    """Those of models that nobody attacks; of any model, or of either side, where None."""
    return [
        curve
        for curve in curves
        if curve.cell.attack == "direct"
        and curve.points
        and model in (None, curve.cell.model)
        and is_defended in (None, curve.cell.is_defended)
    ]


def judge_table(view: StressView) -> Table | None:
    """What every judge makes of each attack's worst case; None with one judge."""
    if len(view.judges) < 2:
        return None
    curves = {judge: view.curves("complied", judge) for judge in view.judges}
    rows = []
    for one in standings(view):
        place = one.worst.cell, one.worst.point.step
        cells = [estimate_at(curves[judge], *place) or NO_ESTIMATE for judge in view.judges]
        name = f"{one.attack}{control_words(one.attack)} on {one.model}"
        rows.append(Row(f"{name}{', hardened' if one.hardened else ''}", cells))
    return Table(
        "Share of harmful prompts complied with, of the same responses by every judge; the first one's figures "
        "are shown elsewhere, and chose the worst case",
        [Column(judge) for judge in view.judges],
        rows,
    )


def agreement_rows(view: StressView) -> list[dict[str, Any]]:
    """How far judges agree on all responses."""
    found = view.summary.get("agreement") or ()
    return [
        {
            "judges": words.join_words([str(name) for name in one.get("judges") or ()]),
            "kappa": words.number(one.get("kappa"), 2),
            "raw": words.number(one.get("raw"), 2),
            "n": words.count(one.get("n")),
        }
        for one in found
        if isinstance(one, Mapping)
    ]
