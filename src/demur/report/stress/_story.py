"""What the page says in sentences: what was attacked, its cost, what was left, what nobody may conclude."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from demur.errors import DemurError
from demur.report import _words as words
from demur.report._views import finite
from demur.report.stress._cells import Cost
from demur.report.stress._choose import CONTROLS, Reached, Standing, standings
from demur.report.stress._read import StressView
from demur.report.stress._scaling import power, size_words

ACCESS = {
    "prompt": "the prompt alone",
    "decoding": "how the answer is written",
    "embeddings": "the weights, to put numbers in place of words",
    "activations": "the weights, to change what goes on inside",
    "weights": "the weights, to change them",
    "training": "the weights, and a machine to train them on",
}
"""What an attacker must hold, in words."""
_FEW_SEEDS, _SMALL = 5, 3e9


def attack_title(name: str) -> str:
    """What an attack does, in one sentence; empty where it is not installed here."""
    from demur.stress import ATTACKS

    try:
        return str(ATTACKS.get(name).title)
    except DemurError:
        return ""


def cost_words(cost: Cost) -> str:
    """What an attack spent."""
    parts = []
    if cost.flops:
        parts.append(f"{power(cost.flops)} operations")
    if cost.trainable:
        parts.append(f"{words.count(cost.trainable)} trained parameters")
    if cost.examples:
        parts.append(f"{words.count(cost.examples)} examples")
    if cost.queries and cost.queries > 1:
        parts.append(f"{words.count(cost.queries)} answers a prompt")
    if cost.seconds and cost.flops:
        parts.append(words.duration(cost.seconds))
    return ", ".join(parts) or "next to nothing"


def percent(value: float | None) -> str:
    """A share as a whole percentage."""
    return words.MISSING if value is None else f"{100 * value:.0f} %"


def share_words(reached: Reached) -> str:
    """A share with its interval and what it is of."""
    one = reached.estimate
    ends = f" ({percent(one.low)} to {percent(one.high)})" if one.low is not None and one.high is not None else ""
    return f"{percent(one.value)}{ends}"


def where_words(reached: Reached) -> str:
    """At which setting and step, at what cost."""
    parts = [reached.cell.setting, f"step {words.count(reached.point.step)}" if reached.point.step else ""]
    place = ", ".join(part for part in parts if part)
    return f"{f'{place}; ' if place else ''}cost: {cost_words(reached.point.cost)}"


def verdicts(view: StressView) -> dict[str, list[dict[str, str]]]:
    """Attacks that win, win in part and were held, each with one sentence, the most dangerous first."""
    found: dict[str, list[dict[str, str]]] = {"wins": [], "wins in part": [], "held": []}
    for one in standings(view):
        if one.attack not in CONTROLS:
            found[one.verdict].append({"name": _named(view, one), "sentence": sentence(view, one)})
    return found


def _named(view: StressView, one: Standing) -> str:
    return f"{one.attack} on {one.model}" if len(view.models) > 1 else one.attack


def sentence(view: StressView, one: Standing) -> str:
    """One attack's worst case in plain words."""
    who = "the hardened model" if one.hardened else "the model"
    share, where = share_words(one.worst), where_words(one.worst)
    said = f"At its worst, {who} complied with {share} of harmful prompts ({where})."
    if one.base and one.hardened:
        said += f" Without the defence: {share_words(one.base)}."
    title = attack_title(one.attack)
    return f"{title} {said}".strip()


def untouched(view: StressView) -> str:
    """What each model refuses when nobody attacks; empty where it was not asked."""
    said = []
    for curve in view.curves("rrr"):
        if curve.cell.attack == "direct" and curve.points:
            one = curve.points[0].estimate
            who = f"{curve.cell.model}{' with its defence' if curve.cell.is_defended else ''}"
            said.append(f"{who} {percent(one.value)} (n = {words.count(one.n)})")
    return f"Of harmful prompts, asked plainly, are refused by {words.join_words(said)}." if said else ""


def lead(view: StressView) -> str:
    """What was done, in one sentence."""
    attacks = [name for name in view.attacks if name not in CONTROLS]
    models = words.join_words(view.models[:4]) + (
        f" and {len(view.models) - 4} more" if len(view.models) > 4 else ""
    )
    defended = ", each without and with a defence," if view.has_defence else ""
    counts = view.about.get("data") or {}
    asked = f", asked {words.count(counts['harmful'])} harmful prompts" if counts.get("harmful") else ""
    return (
        f"{models}{defended} under {len(attacks)} attack{'' if len(attacks) == 1 else 's'} and "
        f"{len(view.attacks) - len(attacks)} controls{asked}, with {len(view.seeds)} "
        f"seed{'' if len(view.seeds) == 1 else 's'}."
    )


def limits(view: StressView) -> list[str]:
    """What this run cannot claim."""
    said = []
    if view.has_defence:
        said.append(
            "A defence that is an add-on to public weights is not tamper-resistant: whoever holds the weights can "
            "take it off, or start from the public base, at no cost. Merging it into the weights changes nothing "
            "about that. It can only hinder an attacker who does not do so, or who has no weights."
        )
    if len(view.seeds) < _FEW_SEEDS:
        said.append(
            f"{len(view.seeds)} seed{'' if len(view.seeds) == 1 else 's'}: how much the outcome of an attack "
            "varies from one training to the next is hardly known."
        )
    sizes = [size for row in view.rows if (size := finite(_number(row.get("parameters"))))]
    if sizes and max(sizes) < _SMALL:
        said.append(
            f"The largest model has {size_words(max(sizes))} parameters. Small models refuse and break "
            "differently from large ones; the numbers do not carry over."
        )
    said.append(_judge_limit(view))
    said.append(
        "An attack that failed here has failed with these settings and this effort. Attacks only get better; a "
        "weak version of one understates it."
    )
    said += list(dict.fromkeys(_warnings(view)))
    said += list(dict.fromkeys(_left_out(view)))
    return said


def _left_out(view: StressView) -> list[str]:
    """Cells without figures; a base has no defence to be taken off, which is no gap."""
    return [
        f"{one.get('attack')} on {one.get('model')} was left out: {one.get('reason')}."
        for one in view.summary.get("left_out") or ()
        if isinstance(one, dict) and (one.get("defended") or one.get("attack") not in CONTROLS)
    ]


def _judge_limit(view: StressView) -> str:
    judges = view.config.get("judges") or ()
    first: Any = judges[0] if judges else {}
    if isinstance(first, dict) and first.get("calibration"):
        return (
            f"The judge '{view.judge}' was checked on responses labelled by hand; curves are corrected for its "
            "errors, and those errors are in the intervals."
        )
    return (
        f"The judge '{view.judge}' errs, and nobody labelled responses of these models to say how often: rates "
        "are as it gave them, and the intervals do not hold its errors. Compare the judges below."
    )


def _warnings(view: StressView) -> list[str]:
    found = view.summary.get("curves") or ()
    said = [str(line) for curve in found if isinstance(curve, dict) for line in curve.get("warnings") or ()]
    return [f"{line[:1].upper()}{line[1:]}." for line in said if "seed" not in line]


def threat_model(attacks: Sequence[str], access: dict[str, str]) -> list[tuple[str, str]]:
    """What attackers were let do, from the least to the most, with the attacks of each kind."""
    found = []
    for kind, holds in ACCESS.items():
        names = [name for name in attacks if access.get(name) == kind and name not in CONTROLS]
        if names:
            found.append((holds, words.join_words(names)))
    return found


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
