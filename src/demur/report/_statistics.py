"""What the page says of the tests: the winner against all, balance of labels, and judges without texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.metrics import Estimate
from demur.report import _words as words
from demur.report._compare import METRICS, Difference, facing
from demur.report._run import RunView
from demur.report._sections import Column, Row, Table
from demur.report._views import TaskView, finite

_RANKED = ("cv", "leave_one_source_out", "leave_one_model_out")
_PROPERTIES = {
    "split": "Training, validation and test rows",
    "blind": "Blind set and the rest",
    "source": "Sources",
    "answerer": "Answering models",
}
_METHODS = {"chi-square": "chi-square", "fisher": "Fisher's exact test", "permutation": "random tables"}


def against_all(run: RunView, task: TaskView, found: Sequence[Difference]) -> dict[str, Any] | None:
    """The winner against every other model on the rows of the main figures, nearest rival first."""
    winner, protocol = task.winner, task.main_protocol
    rows = [one for one in found if one.protocol == protocol]
    if winner is None or not rows:
        return None
    statistics = run.statistics(task)["protocols"]
    pairs = _pairs_of(statistics.get(protocol), winner.name)
    folds = _pairs_of(statistics.get("cv"), winner.name)
    lines: list[dict[str, Any]] = []
    for name in dict.fromkeys(one.other for one in rows):
        by_metric = {one.metric: one for one in rows if one.other == name}
        mcnemar = pairs[name].get("mcnemar") or {}
        lines.append(
            {
                "other": name,
                "n": by_metric[METRICS[0]].difference.n if METRICS[0] in by_metric else None,
                "figures": [by_metric.get(metric) for metric in METRICS],
                "only": (mcnemar.get("only_a"), mcnemar.get("only_b")),
                "mcnemar": words.chance(pairs[name].get("clustered_p_holm")),
                "folds": _fold_test(folds.get(name)),
            }
        )
    lines.sort(key=lambda line: _gap(line["figures"][0]))
    return {
        "rows": lines,
        "protocol": words.protocol_name(protocol),
        "count": len(statistics[protocol]["pairs"]),
        "has_folds": any(line["folds"] != words.MISSING for line in lines),
    }


def _gap(one: Difference | None) -> float:
    value = one.difference.value if one else None
    return 2.0 if value is None else value


def _pairs_of(found: Mapping[str, Any] | None, winner: str) -> dict[str, dict[str, Any]]:
    pairs = (facing(pair, winner) for pair in (found or {}).get("pairs") or ())
    return {str(pair["b"]): pair for pair in pairs if pair["a"] == winner}


def _fold_test(pair: Mapping[str, Any] | None) -> str:
    one = ((pair or {}).get("metrics") or {}).get(METRICS[0]) or {}
    return words.chance(one.get("t_p_holm"))


def detectable_sentences(run: RunView, task: TaskView) -> list[str]:
    """How small a difference the rows of each protocol would show."""
    said = []
    for protocol, found in (run.statistics(task).get("protocols") or {}).items():
        parts = [
            f"{one['median']:.3f} in {words.metric_name(metric)}"
            for metric, one in (found.get("detectable") or {}).items()
            if finite(one.get("median")) is not None
        ]
        if parts:
            said.append(
                f"{words.protocol_name(protocol)} (n = {words.count(found.get('n'))} in "
                f"{words.count(found.get('groups'))} groups): {words.join_words(parts)}"
            )
    return said


def rank_of(run: RunView, task: TaskView, metric: str = METRICS[0]) -> tuple[str, Mapping[str, Any]] | None:
    """The protocol whose parts models are ranked over, and the ranks; cross-validation first."""
    protocols = run.statistics(task).get("protocols") or {}
    for protocol in _RANKED:
        found = ((protocols.get(protocol) or {}).get("ranks") or {}).get(metric)
        if found:
            return protocol, found
    return None


def balance_rows(run: RunView, task: TaskView) -> list[dict[str, Any]]:
    """Whether labels are spread alike over splits, sources and answering models."""
    rows = []
    for one in run.statistics(task).get("balance") or ():
        test = one["test"]
        rows.append(
            {
                "name": _PROPERTIES.get(one["name"], one["name"]),
                "kinds": len(one["values"]),
                "n": test["n"],
                "v": words.number(test["cramers_v"], 2),
                "p": words.chance(test["p"]),
                "method": _METHODS.get(test["method"], test["method"]) or words.MISSING,
                "says": _balance_verdict(test),
                "is_strong": bool(test.get("is_strong")),
            }
        )
    return rows


def _balance_verdict(test: Mapping[str, Any]) -> str:
    if test.get("p") is None:
        return str(test.get("reason") or "not tested")
    if test.get("is_strong"):
        return "strongly uneven"
    return "uneven" if test["p"] < 0.05 and (test.get("cramers_v") or 0) >= 0.1 else "even"


def told_source(run: RunView, task: TaskView) -> str:
    """Whether texts give their source away, as a sentence; empty where it was not checked."""
    told = (run.statistics(task).get("confound") or {}).get("told")
    if not told:
        return ""
    if told.get("value") is None:
        return f"Whether texts give their source away was not checked: {told.get('reason')}."
    figure = Estimate(told["value"], told.get("low"), told.get("high"), told["n"])
    is_told = told.get("low") is not None and told["low"] > told["chance"]
    verdict = "Texts give their source away" if is_told else "Texts are not shown to give their source away"
    return (
        f"{verdict}: word n-grams and logistic regression tell {len(told['sources'])} sources apart with a "
        f"balanced accuracy of {words.with_interval(figure, 2)} on groups not trained on (n = "
        f"{words.count(told['n'])}; guessing gives {told['chance']:.2f}). That harms only where labels "
        "depend on the source."
    )


def baseline_table(run: RunView, task: TaskView) -> Table | None:
    """Judges that never read a text beside the winner, on the rows of the main figures."""
    baselines = (run.statistics(task).get("confound") or {}).get("baselines") or ()
    protocols = {str(one["protocol"]) for one in baselines}
    protocol = next((name for name in (task.main_protocol or "", "cv") if name in protocols), None)
    if protocol is None:
        return None
    shown = [one for one in baselines if one["protocol"] == protocol]
    rows = [
        Row(
            "knows nothing" if one["sees"] == "nothing" else f"knows the {one['sees']}",
            [
                cell
                for metric in METRICS
                for cell in (
                    Estimate(finite(one["metrics"][metric]["b"]), None, None, one["n"]),
                    _lead(one["metrics"][metric], one["n"]),
                )
            ],
            f"calls the {one['rule']} label",
        )
        for one in shown
    ]
    columns = [
        column
        for metric in METRICS
        for column in (Column(_capital(words.metric_name(metric))), Column("Winner is ahead by"))
    ]
    size = words.count(shown[0]["n"])
    return Table(f"Judges that read no text: {words.protocol_name(protocol)}, n = {size}", columns, rows)


def _lead(one: Mapping[str, Any], n: int) -> Estimate:
    return Estimate(finite(one["difference"]), finite(one["low"]), finite(one["high"]), n, one.get("reason"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
