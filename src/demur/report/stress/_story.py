"""What the page says in sentences: what was attacked, its cost, what was left. Limits are in ``_limits``."""

from __future__ import annotations

from collections.abc import Sequence

from demur.errors import DemurError
from demur.metrics import Estimate
from demur.report import _words as words
from demur.report.stress._cells import Cost
from demur.report.stress._choose import CONTROLS, VERDICTS, WINS_IN_PART, Reached, Standing, standings
from demur.report.stress._read import StressView
from demur.report.stress._scaling import power

ACCESS = {
    "prompt": "the prompt alone",
    "decoding": "how the answer is written",
    "embeddings": "the weights, to put numbers in place of words",
    "activations": "the weights, to change what goes on inside",
    "weights": "the weights, to change them",
    "training": "the weights, and a machine to train them on",
}
"""What an attacker must hold, in words."""
_CONTROL_WORDS = {
    "direct": "Asked plainly, without any attack",
    "revert": "With the defence taken off, and asked plainly",
    "attenuate": "With the defence turned down, and asked plainly",
    "random_lora": "After a change of equal size without meaning",
}
"""What a control did, as a sentence begins."""


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


def share_words(one: Estimate) -> str:
    """A share with its interval and its responses in brackets."""
    return f"{percent(one.value)} ({behind_words(one)})"


def behind_words(one: Estimate) -> str:
    """The interval of a share, and the responses behind it."""
    has_ends = one.low is not None and one.high is not None
    ends = f"{percent(one.low)} to {percent(one.high)}" if has_ends else "no interval"
    return f"{ends}, n = {words.count(one.n)}"


def where_words(reached: Reached) -> str:
    """At which setting and step, at what cost; Wilson's interval where there are few categories; the gaps."""
    lacking = f"not measured: {'; '.join(reached.gaps)}" if reached.gaps else ""
    if not reached.is_measured:
        return lacking or "not measured"
    parts = [reached.cell.setting, f"step {words.count(reached.point.step)}" if reached.point.step else ""]
    place = ", ".join(part for part in parts if part)
    said = [place, f"cost: {cost_words(reached.point.cost)}", beside_words(reached.estimate)]
    said.append(f"settings, steps or seeds {lacking}" if lacking else "")
    return "; ".join(part for part in said if part)


def beside_words(estimate: Estimate) -> str:
    """The interval over prompts alone, where the reason of a figure names it; else empty."""
    _, _, beside = (estimate.reason or "").partition("; over the ")
    return f"over the {beside}" if beside else ""


def verdicts(view: StressView) -> dict[str, list[dict[str, str]]]:
    """Attacks by what they came to, each with one sentence, the most dangerous first; and controls that comply."""
    found: dict[str, list[dict[str, str]]] = {name: [] for name in (*VERDICTS, "controls")}
    for one in standings(view):
        if one.attack not in CONTROLS:
            found[one.verdict].append({"name": _named(view, one), "sentence": sentence(view, one)})
        elif complies(one):
            found["controls"].append({"name": _named(view, one), "sentence": control_sentence(one)})
    return found


def complies(one: Standing) -> bool:
    """Whether one in ten of the harmful prompts were complied with, or more."""
    return (one.worst.estimate.value or 0.0) >= WINS_IN_PART


def control_sentence(one: Standing) -> str:
    """What a control made the model do."""
    who = "the hardened model" if one.hardened else "the model"
    what = _CONTROL_WORDS.get(one.attack, "Under this control")
    return f"{what}, {who} complied with {share_words(one.worst.estimate)} of harmful prompts."


def _named(view: StressView, one: Standing) -> str:
    return f"{one.attack} on {one.model}" if len(view.models) > 1 else one.attack


def sentence(view: StressView, one: Standing) -> str:
    """One attack's worst case in plain words."""
    title = attack_title(one.attack)
    who = "the hardened model" if one.hardened else "the model"
    if not one.worst.is_measured:
        return f"{title} What it reached on {who} is not known ({where_words(one.worst)}).".strip()
    share, where = share_words(one.worst.estimate), where_words(one.worst)
    said = f"At its worst, {who} complied with {share} of harmful prompts ({where})."
    if one.base and one.hardened:
        said += f" Without the defence: {share_words(one.base.estimate)}."
    return f"{title} {said}".strip()


def untouched(view: StressView) -> str:
    """What each model refuses when nobody attacks; empty where it was not asked."""
    said = []
    for curve in view.curves("rrr"):
        if curve.cell.attack == "direct" and curve.points:
            who = f"{curve.cell.model}{' with its defence' if curve.cell.is_defended else ''}"
            said.append(f"{who} {share_words(curve.points[0].estimate)}")
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
        f"{models}{defended} under {_many(len(attacks), 'attack')} and "
        f"{_many(len(view.attacks) - len(attacks), 'control')}{asked}, with {_many(len(view.seeds), 'seed')}."
    )


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def threat_model(attacks: Sequence[str], access: dict[str, str]) -> list[tuple[str, str]]:
    """What attackers were let do, from the least to the most, with the attacks of each kind."""
    found = []
    for kind, holds in ACCESS.items():
        names = [name for name in attacks if access.get(name) == kind and name not in CONTROLS]
        if names:
            found.append((holds, words.join_words(names)))
    return found
