"""Paired differences over seeds, and the tables that show them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LEVEL = 0.95
MIN_SEEDS = 3
FIGURES = {
    "security score": ("custom_score", True),
    "macro-F1": ("f1_macro", True),
    "recall": ("recall_c{number}", True),
    "precision": ("precision_c{number}", True),
    "false-alarm rate": ("false_alarm_rate", False),
    "missed-threat rate": ("missed_threat_rate", False),
}
"""Figure to metric, and whether more of it is better; recall and precision are of the rare class."""
PAIRS = (
    ("balanced", "none"),
    ("adaptive", "none"),
    ("adaptive", "balanced"),
    ("focal", "none"),
    ("focal_adaptive", "none"),
    ("focal_adaptive", "focal"),
)
_MAIN = "security score"


def summarise(
    runs: Sequence[Mapping[str, Any]], cases: Mapping[str, Any], models: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """An entry for each case and model: means over its seeds, and differences over the seeds a pair shares."""
    entries = []
    for case in cases:
        for model in models:
            mine = [run for run in runs if (run["case"], run["model"]) == (case, model)]
            if mine:
                entries.append(_summarise_one(case, model, mine))
    return entries


def _summarise_one(case: str, model: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    by_variant: dict[str, dict[int, Mapping[str, Any]]] = {}
    for run in runs:
        by_variant.setdefault(run["variant"], {})[run["seed"]] = run
    pairs = []
    for variant, against in PAIRS:
        shared = sorted(set(by_variant.get(variant, ())) & set(by_variant.get(against, ())))
        if shared:
            pairs.append(
                _compare(variant, against, [(by_variant[variant][s], by_variant[against][s]) for s in shared])
            )
    return {
        "case": case,
        "model": model,
        "rows": {side: mean([run["rows"][side] for run in runs]) for side in ("train", "valid", "test")},
        "rare_rows": {side: mean([run["rare_rows"][side] for run in runs]) for side in ("train", "valid", "test")},
        "variants": {
            variant: {"seeds": sorted(found), "fit_cpu_s": mean([run["fit_cpu_s"] for run in found.values()])}
            | {figure: _spread([run["figures"][figure] for run in found.values()]) for figure in FIGURES}
            for variant, found in by_variant.items()
        },
        "pairs": pairs,
    }


def _compare(
    variant: str, against: str, runs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> dict[str, Any]:
    ratio = mean([first["ratio"] for first, _ in runs])
    figures = {}
    for figure, (_, more_is_better) in FIGURES.items():
        found = [(a["figures"][figure], b["figures"][figure]) for a, b in runs]
        differences = [a - b for a, b in found if a is not None and b is not None]
        figures[figure] = difference_over_seeds(differences, ratio, more_is_better)
    return {
        "variant": variant,
        "against": against,
        "seeds": len(runs),
        "figures": figures,
        "verdict": figures[_MAIN]["verdict"],
        "sentence": _sentence(figures),
    }


def difference_over_seeds(differences: Sequence[float], ratio: float, more_is_better: bool) -> dict[str, Any]:
    """Mean difference with its 95 % t-intervals, plain and corrected for splits that share rows, and a verdict.

    ``ratio`` is test rows for each other row: the corrected variance of the mean is ``(1/J + ratio) · s²``.

    References
    ----------
    Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003, section 4.2.
    """
    import numpy as np
    from scipy import stats

    from demur.analysis import corrected_t

    count = len(differences)
    if not count:
        return {"mean": None, "seeds": 0, "verdict": "no figure"}
    found: dict[str, Any] = {
        "mean": mean(differences),
        "seeds": count,
        "better_seeds": sum((value > 0) == more_is_better and value != 0 for value in differences),
        "worse_seeds": sum((value < 0) == more_is_better and value != 0 for value in differences),
    }
    if count < MIN_SEEDS:
        return found | {"verdict": "too few seeds"}
    reach = float(stats.t.ppf((1 + LEVEL) / 2, count - 1) * np.std(differences, ddof=1))
    corrected, plain = reach * math.sqrt(1 / count + ratio), reach / math.sqrt(count)
    low, high = found["mean"] - corrected, found["mean"] + corrected
    verdict = "no difference shown"
    if low > 0 or high < 0:
        verdict = "helped" if (low > 0) == more_is_better else "hurt"
    return found | {
        "low": low,
        "high": high,
        "plain_low": found["mean"] - plain,
        "plain_high": found["mean"] + plain,
        "p": corrected_t(differences, ratio).p,
        "verdict": verdict,
    }


def _sentence(figures: Mapping[str, Mapping[str, Any]]) -> str:
    main = figures[_MAIN]["verdict"]
    said = {
        verdict: [name for name, found in figures.items() if name != _MAIN and found["verdict"] == verdict]
        for verdict in ("helped", "hurt")
    }
    rest = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in said.items() if names)
    start = {"helped": "**helped** the score", "hurt": "**hurt** the score"}.get(main, main)
    return f"{start}; {rest}" if rest else start


def write_tables(result: Mapping[str, Any], cases: Mapping[str, Any]) -> str:
    """All of ``result.md``."""
    lines = ["# Result", "", *_overview(result, cases)]
    for name, case in cases.items():
        entries = [entry for entry in result["summary"] if entry["case"] == name]
        if entries:
            lines += [f"## {case['title']}", "", *_case_lines(entries, case["rare"])]
    return "\n".join([*lines, *_foot(result)]) + "\n"


def _overview(result: Mapping[str, Any], cases: Mapping[str, Any]) -> Iterator[str]:
    pairs = [pair for entry in result["summary"] for pair in entry["pairs"]]
    judged = [found for pair in pairs for found in pair["figures"].values() if "low" in found]
    scores = [pair["figures"][_MAIN] for pair in pairs if "low" in pair["figures"][_MAIN]]
    counts = {
        verdict: sum(found["verdict"] == verdict for found in scores)
        for verdict in ("helped", "hurt", "no difference shown")
    }
    yield (
        f"Of {len(scores)} comparisons by the security score: "
        + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        + f". Over all figures there are {len(judged)} intervals; about {len(judged) * (1 - LEVEL):.0f} of them "
        "would leave 0 out by luck alone if nothing ever made a difference."
    )
    yield ""
    yield "| case | rare class, of training rows | model | change | security score | seeds better / worse | |"
    yield "|" + " --- |" * 7
    for entry in result["summary"]:
        share = entry["rare_rows"]["train"] / entry["rows"]["train"]
        for pair in entry["pairs"]:
            found = pair["figures"][_MAIN]
            yield (
                f"| {entry['case']} | {cases[entry['case']]['rare']}, {share:.0%} | {entry['model']} "
                f"| {_change(pair)} | {_difference(found)} | {found['better_seeds']} / {found['worse_seeds']} "
                f"of {found['seeds']} | {pair['sentence']} |"
            )
    yield ""


def _case_lines(entries: Sequence[Mapping[str, Any]], rare: str) -> Iterator[str]:
    names = [f"{figure} of {rare}" if figure in ("recall", "precision") else figure for figure in FIGURES]
    for entry in entries:
        rows, rare_rows = entry["rows"], entry["rare_rows"]
        counts = ", ".join(f"{rows[side]:.0f} ({rare_rows[side]:.0f} {rare}) {words}" for side, words in _SIDES)
        yield f"### {entry['model']}"
        yield ""
        yield f"Rows a seed, on average: {counts}."
        yield ""
        yield f"| weights | seeds | {' | '.join(names)} | CPU s a fit |"
        yield "|" + " --- |" * (len(names) + 3)
        for variant, found in entry["variants"].items():
            cells = " | ".join(_shown(found[figure]) for figure in FIGURES)
            yield f"| {_words(variant)} | {len(found['seeds'])} | {cells} | {found['fit_cpu_s']:.1f} |"
        yield ""
        yield f"| change | {' | '.join(names)} |"
        yield "|" + " --- |" * (len(names) + 1)
        for pair in entry["pairs"]:
            cells = " | ".join(_difference(pair["figures"][figure]) for figure in FIGURES)
            yield f"| {_change(pair)} | {cells} |"
        yield ""


_SIDES = (("train", "to learn"), ("valid", "to watch (neural_cnn alone)"), ("test", "to test"))


def _foot(result: Mapping[str, Any]) -> Iterator[str]:
    runs, versions = result["runs"], result["versions"]
    commits = ", ".join(sorted({run["commit"] for run in runs}))
    yield (
        "Figures: mean ± standard deviation over the seeds. Differences: mean over the seeds, paired, with the "
        "corrected 95 % t-interval; bold where it leaves out 0. Verdicts follow the intervals."
    )
    yield ""
    yield (
        f"{len(runs)} fits of at most {result['setup']['rows']} training rows of {result['data']}; "
        f"{result['machine']['processor']}, one core; commit {commits}, "
        f"{result['date']}; " + ", ".join(f"{name} {number}" for name, number in versions.items()) + "."
    )


def _change(pair: Mapping[str, Any]) -> str:
    return f"{_words(pair['variant'])} − {_words(pair['against'])}"


def _words(variant: str) -> str:
    return variant.replace("_", ", ")


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    there = [value for value in values if value is not None]
    if not there:
        return {"mean": None, "std": None}
    middle = mean(there)
    many = len(there) > 1
    return {
        "mean": middle,
        "std": math.sqrt(sum((v - middle) ** 2 for v in there) / (len(there) - 1)) if many else None,
    }


def _shown(found: Mapping[str, float | None]) -> str:
    if found["mean"] is None:
        return "none"
    return f"{found['mean']:.3f}" + (f" ± {found['std']:.3f}" if found["std"] is not None else "")


def _difference(found: Mapping[str, Any]) -> str:
    if found["mean"] is None:
        return "none"
    if "low" not in found:
        return f"{found['mean']:+.3f}"
    text = f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    return f"**{text}**" if found["verdict"] in ("helped", "hurt") else text


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
