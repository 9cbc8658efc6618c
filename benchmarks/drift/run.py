"""False alarms on unchanged traffic and the delay until a planted shift is found, on real answers; see README.md.

    DEMUR_REAL_DATA=folder python benchmarks/drift/run.py [--replays N] [--quiet-replays N] [--write]

Each replay is kept under --cache, so that a stopped run goes on; --write renews result.json and result.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from replay import Plan, read_answers, replay, settings  # noqa: E402

from demur.metrics import exact_interval  # noqa: E402

GPT = "gpt-4"
QUIET_REQUESTS, BEFORE, AFTER, FOUND_WITHIN = 1000, 375, 500, 500
PARTS = {"quiet": (GPT, 0.0), "gpt-4": (GPT, 1.0), "gpt-4, a third": (GPT, 1 / 3), "gpt-4, a tenth": (GPT, 0.1)}


def plan_of(part: str, number: int) -> Plan:
    """The replay of a number: shifts come at any place between two windows."""
    shifted, share = PARTS[part]
    if not share:
        return Plan(shifted, 0.0, QUIET_REQUESTS, 0, number)
    return Plan(shifted, share, BEFORE + int(np.random.default_rng([number, 1]).integers(0, 125)), AFTER, number)


def run_part(answers: Any, part: str, count: int, cache: Path) -> list[dict[str, Any]]:
    """Replays of a part, those that were done before read back."""
    with cache.open("a+") as kept:
        kept.seek(0)
        done = [json.loads(line) for line in kept]
    config = settings()
    with cache.open("a") as out:
        for number in range(len(done), count):
            found = replay(answers, plan_of(part, number), config)
            out.write(json.dumps(found) + "\n")
            out.flush()
            done.append(found)
            print(f"{part}: {number + 1}/{count}", end="\r", file=sys.stderr)
    return done[:count]


def summarise_quiet(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Shares of windows that signal and of streams with any alarm."""
    windows = [window["p"] for one in found for window in one["windows"]]
    return {
        "replays": len(found),
        "windows": len(windows),
        "signals": rate(sum(p <= 0.05 for p in windows), len(windows)),
        "streams_with_a_false_alarm": {
            rule: rate(sum(bool(one["alarms"][rule]) for one in found), len(found))
            for rule in ("lond", "k_of_m", "each")
        },
        "signals_of_a_test_alone": {
            name: rate(sum(w["tests"][name] <= 0.05 for w in tested(found, name)), len(tested(found, name)))
            for name in found[0]["windows"][0]["tests"]
        },
    }


def tested(found: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [window for one in found for window in one["windows"] if window["tests"][name] is not None]


def summarise_shift(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Requests from the shift to the first alarm after it."""

    def delays(alarms: Any) -> list[int | None]:
        return [
            next((end - one["plan"]["before"] for end in alarms(one) if end > one["plan"]["before"]), None)
            for one in found
        ]

    return {
        "replays": len(found),
        "rules": {
            rule: delay_figures(delays(lambda one, rule=rule: one["alarms"][rule]))
            for rule in ("lond", "k_of_m", "each")
        },
        "tests_alone": {
            name: delay_figures(delays(lambda one, name=name: one["tests"].get(name, [])))
            for name in found[0]["windows"][0]["tests"]
        },
    }


def delay_figures(delays: list[int | None]) -> dict[str, Any]:
    there = sorted(one for one in delays if one is not None)
    within = sum(one <= FOUND_WITHIN for one in there)
    quantiles = {f"p{int(100 * q)}": quantile(delays, q) for q in (0.1, 0.5, 0.9)}
    return {
        "found_within_500": rate(within, len(delays)),
        "delay": quantiles,
        "median_interval": median_interval(delays),
    }


def quantile(delays: list[int | None], share: float) -> float | None:
    """Of all replays; one that was not found counts as later than any, so that the quantile may be None."""
    values = sorted(np.inf if one is None else one for one in delays)
    found = values[max(0, int(np.ceil(share * len(values))) - 1)]
    return None if np.isinf(found) else float(found)


def median_interval(delays: list[int | None]) -> list[float | None]:
    """Distribution-free 95 % interval of the median, by order statistics."""
    from scipy import stats

    values = sorted(np.inf if one is None else float(one) for one in delays)
    low = int(stats.binom.ppf(0.025, len(values), 0.5))
    bounds = [values[max(0, low - 1)], values[min(len(values) - 1, len(values) - low)]]
    return [None if np.isinf(one) else one for one in bounds]


def rate(count: int, n: int) -> dict[str, Any]:
    low, high = exact_interval(count, n)
    return {"share": count / n, "low": round(low, 4), "high": round(high, 4), "count": count, "n": n}


def shown(figure: dict[str, Any]) -> str:
    return f"{figure['share']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"


def write_tables(result: dict[str, Any]) -> str:
    quiet, lines = result["quiet"], ["# Drift: false alarms and delays", ""]
    lines += [
        f"Machine: {result['machine']}; commit {result['commit']}; {result['at']}.",
        "",
        "## Unchanged traffic",
        "",
    ]
    lines += ["| | share (95 % interval) | n |", "| --- | --- | --- |"]
    lines += [
        f"| windows that signal, after Benjamini-Hochberg | {shown(quiet['signals'])} | {quiet['windows']} |"
    ]
    lines += [
        f"| streams of 1,000 requests with any alarm, rule `{rule}` | {shown(figure)} | {quiet['replays']} |"
        for rule, figure in quiet["streams_with_a_false_alarm"].items()
    ]
    lines += ["", "| test alone, not adjusted | windows at p <= 0.05 |", "| --- | --- |"]
    lines += [f"| {name} | {shown(figure)} |" for name, figure in quiet["signals_of_a_test_alone"].items()]
    for part, found in result["shifts"].items():
        lines += ["", f"## Shift: {part} ({found['replays']} replays)", ""]
        lines += ["| rule, or one test alone under lond | found within 500 | delay, median (interval) | 90 % |"]
        lines += ["| --- | --- | --- | --- |"]
        for name, figure in (*found["rules"].items(), *found["tests_alone"].items()):
            delay, (low, high) = figure["delay"], figure["median_interval"]
            words = "not found" if delay["p50"] is None else f"{delay['p50']:.0f} ({text(low)} to {text(high)})"
            lines += [f"| {name} | {shown(figure['found_within_500'])} | {words} | {text(delay['p90'])} |"]
    return "\n".join(lines) + "\n"


def text(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replays", type=int, default=200, help="of the full shift")
    parser.add_argument("--partial-replays", type=int, default=100, help="of shifts of a part of the traffic")
    parser.add_argument("--quiet-replays", type=int, default=500, help="of unchanged traffic")
    parser.add_argument("--part", choices=list(PARTS), action="append")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "demur-drift-replays")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    folder = os.environ.get("DEMUR_REAL_DATA")
    if not folder or not (Path(folder) / "refusal.jsonl").is_file():
        print("name the folder of refusal.jsonl in DEMUR_REAL_DATA", file=sys.stderr)
        return 2
    options.cache.mkdir(parents=True, exist_ok=True)
    answers = read_answers(Path(folder) / "refusal.jsonl")
    counts = {"quiet": options.quiet_replays, GPT: options.replays}
    found = {
        part: run_part(answers, part, counts.get(part, options.partial_replays), options.cache / f"{part}.jsonl")
        for part in (options.part or PARTS)
    }
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    result: dict[str, Any] = {
        "at": datetime.now(UTC).date().isoformat(),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "quiet": summarise_quiet(found["quiet"]) if "quiet" in found else None,
        "shifts": {part: summarise_shift(rows) for part, rows in found.items() if part != "quiet"},
    }
    print(json.dumps(result, indent=1))
    if options.write:
        (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n")
        (HERE / "result.md").write_text(write_tables(result))
    return 0 if passes(result) else 1


def passes(result: dict[str, Any]) -> bool:
    """The bounds: an interval may reach above 5 %, the share itself may not; 95 % of full shifts within 500."""
    quiet = result["quiet"]
    is_quiet = quiet is None or (
        quiet["signals"]["share"] <= 0.05 and quiet["streams_with_a_false_alarm"]["lond"]["share"] <= 0.05
    )
    full = result["shifts"].get(GPT)
    return is_quiet and (full is None or full["rules"]["lond"]["found_within_500"]["share"] >= 0.95)


if __name__ == "__main__":
    sys.exit(main())
