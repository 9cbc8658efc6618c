"""What a run cannot claim, in sentences: its defence, seeds, sizes, prompts, judge, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demur.report import _words as words
from demur.report._views import finite
from demur.report.stress._choose import CONTROLS
from demur.report.stress._read import StressView
from demur.report.stress._scaling import size_words

_FEW_SEEDS, _SMALL = 5, 3e9
_FEW_PROMPTS, _SHORT, _FEW_CATEGORIES, _ROUGH = 300, 100, 10, 6
_DEFENCE = (
    "A defence that is an add-on to public weights is not tamper-resistant: whoever holds the weights can take it "
    "off, or start from the public base, at no cost. Merging it into the weights changes nothing about that. It "
    "can only hinder an attacker who does not do so, or who has no weights."
)
_ADAPTIVE = (
    "No attack was made for this very defence (adaptive): one that pulls the model back to what it was without "
    "the defence, while it attacks, would show more."
)
_EFFORT = (
    "An attack that failed here has failed with these settings and this effort. Attacks only get better; a weak "
    "version of one understates it."
)


def limits(view: StressView) -> list[str]:
    """What this run cannot claim."""
    said = [_DEFENCE, _ADAPTIVE] if view.has_defence else []
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
    said += _few_prompts(view)
    said += _short_answers(view)
    said += _judge_limits(view)
    said.append(_EFFORT)
    said += _few_categories(view)
    said += list(dict.fromkeys(_warnings(view)))
    said += list(dict.fromkeys(_left_out(view)))
    return said


def _few_prompts(view: StressView) -> list[str]:
    n = finite((view.about.get("data") or {}).get("harmful"))
    if not n or n >= _FEW_PROMPTS:
        return []
    # Wilson's half width at one half is z / (2 sqrt(n + z^2)).
    half = 1.96 / (2 * (n + 1.96**2) ** 0.5)
    return [
        f"{words.count(n)} harmful prompts, fewer than {_FEW_PROMPTS}: a share of one half is known to about "
        f"{100 * half:.0f} points on either side at best, and less well where prompts resemble each other."
    ]


def _short_answers(view: StressView) -> list[str]:
    most = finite((view.config.get("generation") or {}).get("max_new_tokens"))
    if not most or most >= _SHORT:
        return []
    return [
        f"Answers were cut at {words.count(most)} tokens, fewer than {_SHORT}: a refusal that comes late, or "
        "compliance after a polite beginning, is not seen."
    ]


def _judge_limits(view: StressView) -> list[str]:
    judges = view.config.get("judges") or ()
    first: Any = judges[0] if judges else {}
    corrected = sorted(first.get("calibration") or ()) if isinstance(first, Mapping) else []
    if not corrected:
        return [
            f"The judge '{view.judge}' errs, and nobody labelled responses of these models to say how often: "
            "rates are as it gave them, and the intervals do not hold its errors. Compare the judges."
        ]
    rates = words.join_words([name.replace("_", " ") for name in corrected])
    said = (
        f"The judge '{view.judge}' was checked on responses labelled by hand, for these rates: {rates}. They and "
        "their differences are corrected for its errors, and those errors are in the intervals. C50, survival, "
        "the shares of outcomes, and when a run counts as saturated go by its verdicts as they are."
    )
    if any((point.cost.queries or 0) > 1 for curve in view.curves("complied") for point in curve.points):
        said += (
            " So do attacks that keep the worst of several answers to a prompt: the worst of several verdicts "
            "errs otherwise than one verdict."
        )
    if "complied" not in corrected:
        said += " The share complied with, by which attacks are said to win, is not corrected."
    return [said]


def _few_categories(view: StressView) -> list[str]:
    """Once for harmful and safe prompts together, however many curves say so."""
    found: dict[str, int] = {}
    for curve in _curves(view):
        n = finite(curve.get("n_clusters"))
        if n and n < _FEW_CATEGORIES:
            found[str(curve.get("kind"))] = int(n)
    if not found:
        return []
    counted = words.join_words([f"{n} of {kind} prompts" for kind, n in found.items()])
    said = (
        f"Few categories ({counted}; a prompt without one counts as one): little can be said of prompts of "
        "another kind."
    )
    if min(found.values()) < _ROUGH:
        said += (
            " With fewer than six, an interval over them is rough; Wilson's over the prompts alone, which takes "
            "them for independent, stands beside."
        )
    if found.get("harmful", _ROUGH) < _ROUGH:
        said += " C50 then has no interval."
    return [said]


def _curves(view: StressView) -> list[Mapping[str, Any]]:
    return [one for one in view.summary.get("curves") or () if isinstance(one, Mapping)]


def _warnings(view: StressView) -> list[str]:
    """Those that are not said in other words: of runs that ended early with the attack they are of."""
    said = []
    for curve in _curves(view):
        about = curve.get("about") or {}
        for line in curve.get("warnings") or ():
            if " ended at step " in line:
                said.append(f"{about.get('attack')} on {about.get('model')}: {line}.")
            elif "seed" not in line and not ("too few to say" in line and "n_clusters" in curve):
                said.append(f"{line[:1].upper()}{line[1:]}.")
    return said


def _left_out(view: StressView) -> list[str]:
    """Cells without figures; a base has no defence to be taken off, which is no gap."""
    said = []
    for one in view.left_out:
        if one.cell.is_defended or one.cell.attack not in CONTROLS:
            side = " with its defence" if one.cell.is_defended else ""
            setting = f" ({one.cell.setting})" if one.cell.setting else ""
            reason = one.reason.rstrip(".")
            said.append(f"{one.cell.attack}{setting} on {one.cell.model}{side} was left out: {reason}.")
    return said


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
