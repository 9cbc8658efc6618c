"""A card from a stress folder and, where there is one, from what training the defence left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.errors import RunError
from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._views import finite
from demur.report.card._card import AttackLine, BenignLine, RobustnessCard
from demur.report.stress import StressView
from demur.report.stress import _story as story
from demur.report.stress import _tables as tables
from demur.report.stress._cells import NO_ESTIMATE, Curve
from demur.report.stress._choose import CONTROLS, Reached, Standing, control_words, estimate_at, standings
from demur.report.stress._html import method

_BENIGN = (
    ("over_refusal", "Over-refusal", "share of safe prompts refused"),
    ("safe_incoherent", "Incoherent", "share of safe prompts answered with text that makes no sense"),
    ("perplexity", "Perplexity", "of ordinary answers"),
    ("kl_mean", "KL to the base", "mean over next tokens, in nats; 0 where nothing changed"),
    ("kl_p99", "KL to the base, 99th percentile", "in nats"),
)


def make_card(
    view: StressView, training: Mapping[str, Any] | None = None, model: str | None = None
) -> RobustnessCard:
    """Build the card of a model that was stressed without and with its defence.

    Parameters
    ----------
    view
        The stress folder of both.
    training
        The contents of ``harden.json``, where the defence is demur's own.
    model
        Which model of the folder; the first that has a defence where None.

    Raises
    ------
    RunError
        No model of the folder was stressed with a defence, or not this one.
    """
    defended = list(dict.fromkeys(one.model for one in standings(view) if one.hardened))
    target = model or (defended[0] if defended else "")
    if target not in defended:
        known = f"with one: {', '.join(defended)}" if defended else "no model of it was"
        raise RunError(
            f"{view.folder} was not stressed with a defence of '{target or 'any model'}' ({known}); name the "
            "adapter as defended: in the model's settings, and run demur stress again"
        )
    lines = [(one, _line(view, one)) for one in standings(view) if one.model == target and one.hardened]
    attacks = tuple(line for one, line in lines if one.attack not in CONTROLS)
    return RobustnessCard(
        name=view.name,
        target=target,
        defence=_defence(training),
        headline=_headline(attacks),
        attacks=attacks,
        controls=tuple(line for one, line in lines if one.attack in CONTROLS),
        benign=_benign(view, target),
        training=tuple(_training(training)),
        judges=tuple(view.judges),
        agreement=tuple(
            one for one in view.summary.get("agreement") or () if isinstance(one, Mapping) and one.get("judges")
        ),
        threats=tuple(story.threat_model(view.attacks, view.access)),
        limits=tuple(story.limits(view)),
        seeds=len(view.seeds),
        level=view.level_words,
        method=method(view),
    )


def _line(view: StressView, one: Standing) -> AttackLine:
    assert one.hardened is not None
    cell, step = one.hardened.cell, one.hardened.point.step
    found = (d.estimate for d in view.differences("complied") if (d.cell, d.step) == (cell, step))
    return AttackLine(
        name=f"{one.attack}{control_words(one.attack)}",
        title=story.attack_title(one.attack),
        access=story.ACCESS.get(view.access.get(one.attack, ""), words.MISSING),
        place=story.where_words(one.hardened),
        base=_estimate(one.base),
        hardened=_estimate(one.hardened),
        difference=next(found, NO_ESTIMATE),
        refused=estimate_at(view.curves("rrr"), cell, step) or NO_ESTIMATE,
        verdict=one.verdict,
    )


def _estimate(reached: Reached | None) -> Estimate:
    return reached.estimate if reached else NO_ESTIMATE


def _headline(attacks: Sequence[AttackLine]) -> tuple[str, ...]:
    said = []
    for verdict, words_of in (("wins", "still win"), ("wins in part", "win in part")):
        names = [
            f"{one.name} ({story.percent(one.hardened.value)} complied with)"
            for one in attacks
            if one.verdict == verdict
        ]
        if names:
            verb = words_of if len(names) > 1 else words_of.replace("win", "wins", 1)
            said.append(f"Against the hardened model {words.join_words(names)} {verb}.")
    if not said and attacks:
        said.append(
            "No attack that was tried made the hardened model comply with one in ten of the harmful prompts. That "
            "says nothing of attacks that were not tried."
        )
    if not attacks:
        said.append("No attack was tried, so nothing is known of what the defence withstands.")
    return tuple(said)


def _benign(view: StressView, model: str) -> tuple[BenignLine, ...]:
    lines = []
    for name, title, note in (*_BENIGN, *_capabilities(view)):
        base, hardened = (_direct(view.curves(name), model, side) for side in (False, True))
        if base.value is None and hardened.value is None:
            continue
        lines.append(BenignLine(title, base, hardened, note))
        if name == "perplexity" and base.value and hardened.value:
            ratio = Estimate(hardened.value / base.value, None, None, hardened.n, "no interval of the ratio")
            lines.append(
                BenignLine("Perplexity, hardened over base", NO_ESTIMATE, ratio, "1 where nothing was lost")
            )
    return tuple(lines)


def _capabilities(view: StressView) -> list[tuple[str, str, str]]:
    names = dict.fromkeys(row["metric"] for row in view.rows if row["metric"].startswith("capability_"))
    return [(name, name.removeprefix("capability_").replace("_", " "), "capability") for name in names]


def _direct(curves: Sequence[Curve], model: str, is_defended: bool) -> Estimate:
    found = tables.untouched_curves(curves, model, is_defended)
    return found[0].points[0].estimate if found else NO_ESTIMATE


def _defence(training: Mapping[str, Any] | None) -> str:
    if not training:
        return "an adapter that was given"
    config = training.get("config") or {}
    layers = words.join_words([str(layer) for layer in training.get("targets") or ()])
    return (
        f"circuit breaker ({str(config.get('objective') or 'rerouting').replace('_', ' ')}), trained for "
        f"{words.count(training.get('steps'))} steps, at layers {layers or words.MISSING}"
    )


def _training(training: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The last validation of a breaker, in words."""
    validations = (training or {}).get("validations") or ()
    last = validations[-1] if validations and isinstance(validations[-1], Mapping) else None
    if last is None:
        return []
    rows = [
        ("Cosine of held-out harmful states to the base", last.get("cosine")),
        ("Norm of those states over the base's", last.get("norm_ratio")),
    ]
    found = [
        (f"{name}, layer {layer}", words.number(value)) for name, by in rows for layer, value in (by or {}).items()
    ]
    moved = [value for one in (last.get("retain") or {}).values() if (value := finite(one)) is not None]
    if moved:
        found.append(("Retained states moved, over their norm", words.number(sum(moved) / len(moved))))
    kl = last.get("kl") or {}
    if kl:
        found.append(("KL to the base on held-out answers, nats", words.number(kl.get("mean"), 4)))
    return found
