"""Do sequential tests hold their level under continuous peeking, and how soon do they see a drop? See README.md.

python benchmarks/sequential/run.py [--runs 2000] [--rows 20000] [--fresh]
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta, norm

from demur.metrics import SequentialDifference, SequentialMean, block_sizes
from demur.metrics._sequential_capital import combine_sides, log_factors, mix_capital

HERE = Path(__file__).resolve().parent
LEVEL, MOST_FALSE = 0.95, 0.05
EVEN, UNEVEN = (0.5, 0.5), (0.9, 0.1)
RATES = (0.01, 0.05, 0.5, 0.9)
DROPS = ((0.9, 0.85), (0.5, 0.45), (0.99, 0.94), (0.06, 0.01))
MARKS = (5000, 20_000)
CHUNK = 20
FIRST_LOOK = 100
"""Observations before the naive test is looked at for the first time."""
TAU = 0.05
"""Of the normal mixture: the size of difference it is tuned for, the one that is looked for here."""


def draw_blocks(generator: Any, rates: tuple[float, float], sizes: tuple[int, int], shape: tuple[int, int]) -> Any:
    """Differences of the means of blocks: arm 1 less arm 0, ``(run, block)``."""
    means = [generator.binomial(size, rate, shape) / size for rate, size in zip(rates, sizes, strict=True)]
    return means[1] - means[0]


def capital_path(values: Any, null: float, span: tuple[float, float], side: str = "two-sided") -> Any:
    """Logarithm of the e-value after each value of one run, by the functions that the tests are made of."""
    low, high = span
    different, back = np.unique(values, return_inverse=True)
    points, mean = (different - low) / (high - low), (null - low) / (high - low)
    up = down = None
    if side != "less":
        up = mix_capital(np.cumsum(log_factors(points, mean)[back], axis=0))
    if side != "greater":
        down = mix_capital(np.cumsum(log_factors(1 - points, 1 - mean)[back], axis=0))
    return combine_sides(up, down)


def first_crossing(
    values: Any, null: float, span: tuple[float, float], level: float, side: str = "two-sided"
) -> float:
    """Number of the value after which the null is rejected; infinity where it never is."""
    places = np.arange(1, len(values) + 1)
    if null == 0 and span == (-1, 1):  # a difference of 0 multiplies every capital by exactly 1
        places, values = places[values != 0], values[values != 0]
    if not len(values):
        return math.inf
    hits = np.flatnonzero(capital_path(values, null, span, side) >= -math.log1p(-level))
    return float(places[hits[0]]) if len(hits) else math.inf


def naive_crossing(first: Any, second: Any) -> float:
    """The pooled z test of two proportions, looked at after every pair, at 1.96."""
    n = np.arange(1, len(first) + 1)
    rates = np.cumsum(first) / n, np.cumsum(second) / n
    pooled = (rates[0] + rates[1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(rates[1] - rates[0]) / np.sqrt(2 * pooled * (1 - pooled) / n)
    hits = np.flatnonzero((z > norm.ppf(1 - MOST_FALSE / 2)) & (2 * n >= FIRST_LOOK))
    return float(n[hits[0]]) if len(hits) else math.inf


def msprt_crossing(first: Any, second: Any) -> float:
    """The mixture sequential probability ratio test for two binary streams with a normal mixture.

    Johari, Koomen, Pekelis and Walsh, Always valid inference: continuous monitoring of A/B tests, Oper. Res.
    70(3), 2022, the section on two streams of binary data: a normal approximation with the variance put in.
    """
    n = np.arange(1, len(first) + 1)
    rates = np.cumsum(first) / n, np.cumsum(second) / n
    variance = sum(rate * (1 - rate) for rate in rates)
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = variance + n * TAU**2
        log = 0.5 * np.log(variance / shrink) + (n * TAU * (rates[1] - rates[0])) ** 2 / (2 * variance * shrink)
    hits = np.flatnonzero(np.nan_to_num(log, nan=0.0, posinf=0.0, neginf=0.0) >= -math.log(MOST_FALSE))
    return float(n[hits[0]]) if len(hits) else math.inf


def chunks(runs: int) -> Iterator[int]:
    for start in range(0, runs, CHUNK):
        yield min(CHUNK, runs - start)


def share(count: int, n: int) -> dict[str, Any]:
    """A share with its exact (Clopper-Pearson) interval."""
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return {"count": count, "n": n, "share": count / n, "low": low, "high": high}


def crossings(runs: int, seed: int, run: Callable[[Any, int], list[float]]) -> Any:
    generator = np.random.default_rng(seed)
    return np.concatenate([run(generator, size) for size in chunks(runs)])


def of_blocks(rates: tuple[float, float], weights: tuple[float, float], rows: int, null: float = 0.0) -> Any:
    """Maker of runs of the test of two arms, with ``rows`` observations of both together."""
    sizes = block_sizes(weights)
    blocks = rows // sum(sizes)

    def run(generator: Any, size: int) -> list[float]:
        drawn = draw_blocks(generator, rates, sizes, (size, blocks))
        return [first_crossing(values, null, (-1, 1), LEVEL) for values in drawn]

    return run


def of_bernoulli(test: Callable[[Any, Any], float], rates: tuple[float, float], rows: int) -> Any:
    def run(generator: Any, size: int) -> list[float]:
        drawn = [generator.random((size, rows // 2)) < rate for rate in rates]
        return [test(first, second) for first, second in zip(*drawn, strict=True)]

    return run


def of_pairs(lost: float, won: float, pairs: int) -> Any:
    """Maker of runs where the challenger alone is wrong in ``lost`` of pairs, the champion alone in ``won``."""

    def run(generator: Any, size: int) -> list[float]:
        draws = generator.random((size, pairs))
        values = (draws > 1 - won).astype(float) - (draws < lost)
        return [first_crossing(one, 0.0, (-1, 1), LEVEL) for one in values]

    return run


def of_bound(rate: float, bound: float, level: float, rows: int) -> Any:
    def run(generator: Any, size: int) -> list[float]:
        drawn = (generator.random((size, rows)) < rate).astype(float)
        return [first_crossing(values, bound, (0, 1), level, "greater") for values in drawn]

    return run


def times(found: Any, per: int, marks: tuple[int, ...] = MARKS) -> dict[str, Any]:
    """When a difference was seen, in observations, and how often by certain numbers of them."""
    seen = found * per
    median = float(np.median(seen))
    return {
        "median": median if math.isfinite(median) else None,
        "p90": float(np.quantile(seen, 0.9, method="higher")) if np.isfinite(seen).mean() > 0.9 else None,
        "power": {str(mark): share(int((seen <= mark).sum()), len(seen)) for mark in marks},
    }


def fixed_power(rates: tuple[float, float], rows: int) -> float:
    """Power of one z test after ``rows`` observations of two even arms; Fleiss, Levin and Paik 2003, section 4."""
    n, middle = rows / 2, sum(rates) / 2
    null, real = math.sqrt(2 * middle * (1 - middle)), math.sqrt(sum(rate * (1 - rate) for rate in rates))
    z = norm.ppf(1 - MOST_FALSE / 2)
    return float(norm.cdf((abs(rates[1] - rates[0]) * math.sqrt(n) - z * null) / real))


def fixed_rows(rates: tuple[float, float], power: float = 0.8) -> int:
    """Observations of both even arms that the z test needs for this power."""
    return next(rows for rows in range(10, 200_000, 10) if fixed_power(rates, rows) >= power)


def check_classes(seed: int = 99) -> int:
    """The classes that are shipped decide as the vectorised paths do; how many runs were compared."""
    generator = np.random.default_rng(seed)
    for number in range(12):
        weights, rates = (EVEN, UNEVEN)[number % 2], ((0.5, 0.5), (0.9, 0.8))[number // 2 % 2]
        sizes = block_sizes(weights)
        arms = [
            (generator.random((300, size)) < rate).astype(float) for size, rate in zip(sizes, rates, strict=True)
        ]
        means = [values.mean(axis=1) for values in arms]
        order = [(arm, value) for block in range(300) for arm in (0, 1) for value in arms[arm][block]]
        test = SequentialDifference(weights)
        test.add_many(order)
        wanted = first_crossing(means[1] - means[0], 0.0, (-1, 1), LEVEL)
        assert test.result().is_rejected == math.isfinite(wanted)
        bound = SequentialMean(0.3, side="greater", level=0.99)
        bound.add_many(arms[1].ravel())
        assert bound.result().is_rejected == math.isfinite(
            first_crossing(arms[1].ravel(), 0.3, (0, 1), 0.99, "greater")
        )
    return 12


def sections(runs: int, rows: int) -> dict[str, Callable[[], Any]]:
    """Every part of the result by its name; each is done once and kept."""
    found: dict[str, Callable[[], Any]] = {"checked_runs": check_classes}

    def false(make: Any, seed: int) -> Callable[[], Any]:
        return lambda: share(int(np.isfinite(crossings(runs, seed, make)).sum()), runs)

    for number, rate in enumerate(RATES):
        same = (rate, rate)
        found[f"aa/{rate}/even"] = false(of_blocks(same, EVEN, rows), number)
        found[f"aa/{rate}/uneven"] = false(of_blocks(same, UNEVEN, rows), 10 + number)
        found[f"aa/{rate}/naive"] = false(of_bernoulli(naive_crossing, same, rows), 20 + number)
        found[f"aa/{rate}/msprt"] = false(of_bernoulli(msprt_crossing, same, rows), 20 + number)
    found["aa/pairs"] = false(of_pairs(0.05, 0.05, rows // 2), 30)
    found["aa/coverage"] = false(of_blocks((0.9, 0.85), EVEN, rows // 4, null=-0.05), 31)
    found["aa/bound"] = false(of_bound(0.02, 0.02, 0.99, rows // 2), 32)
    found["aa/latency"] = false(of_bound(0.05, 0.05, 0.99, rows // 2), 33)
    few = max(200, runs // 4)
    for number, rates in enumerate(DROPS):
        found[f"drop/{rates[0]}/{rates[1]}/even"] = lambda rates=rates, number=number: times(
            crossings(few, 40 + number, of_blocks(rates, EVEN, rows)), 2
        )
        found[f"drop/{rates[0]}/{rates[1]}/uneven"] = lambda rates=rates, number=number: times(
            crossings(few, 50 + number, of_blocks(rates, UNEVEN, rows)), sum(block_sizes(UNEVEN))
        )
        found[f"drop/{rates[0]}/{rates[1]}/msprt"] = lambda rates=rates, number=number: times(
            crossings(few, 40 + number, of_bernoulli(msprt_crossing, rates, rows)), 2
        )
        found[f"drop/{rates[0]}/{rates[1]}/fixed"] = lambda rates=rates: {
            "rows_for_80": fixed_rows(rates),
            "power": {str(mark): fixed_power(rates, mark) for mark in MARKS},
        }
    found["drop/pairs"] = lambda: times(crossings(few, 60, of_pairs(0.08, 0.03, rows // 2)), 1, (1000, 5000))
    found["drop/bound"] = lambda: times(crossings(few, 61, of_bound(0.05, 0.02, 0.99, 5000)), 1, (500, 1000))
    found["drop/latency"] = lambda: times(crossings(few, 62, of_bound(0.10, 0.05, 0.99, 5000)), 1, (500, 1000))
    return found


def percent(one: dict[str, Any]) -> str:
    return f"{one['share']:.2%} ({one['low']:.2%} to {one['high']:.2%})"


def shown_time(value: float | None, most: int) -> str:
    return f"over {most:,}" if value is None else f"{value:,.0f}"


def write_tables(values: dict[str, Any]) -> str:
    """The page of the result."""
    done, setting = values["sections"], values["settings"]
    lines = [
        "# Sequential tests: level and speed",
        "",
        f"{setting['runs']:,} runs of {setting['rows']:,} observations of both arms together, looked at after "
        f"every one; commit {values['commit']}, {values['at']}. Shares with exact 95 % intervals.",
        "",
        "## False positives when both arms are the same",
        "",
        "| base rate | betting, 50:50 | betting, 90:10 | mSPRT, 50:50 | naive z test, peeking |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rate in RATES:
        row = [percent(done[f"aa/{rate}/{kind}"]) for kind in ("even", "uneven", "msprt", "naive")]
        lines.append(f"| {rate:.0%} | {' | '.join(row)} |")
    lines += [
        "",
        "| other true hypotheses | allowed | rejected |",
        "| --- | --- | --- |",
        f"| pairs, 10 % discordant | 5 % | {percent(done['aa/pairs'])} |",
        f"| the interval of a true difference of -5 points (0.90, 0.85) | 5 % | {percent(done['aa/coverage'])} |",
        f"| guard rail: error rate exactly at its bound of 2 % | 1 % | {percent(done['aa/bound'])} |",
        f"| guard rail: 95th percentile of latency exactly at its bound | 1 % | {percent(done['aa/latency'])} |",
        "",
        "## Seeing a drop of five points",
        "",
        "Observations of both arms together; *by n* is the share of runs that saw it by then.",
        "",
        "| from, to | test | median | 90 % by | by 5,000 | by 20,000 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for first, second in DROPS:
        for kind, title in (("even", "betting, 50:50"), ("uneven", "betting, 90:10"), ("msprt", "mSPRT, 50:50")):
            one = done[f"drop/{first}/{second}/{kind}"]
            shown = [shown_time(one[name], setting["rows"]) for name in ("median", "p90")]
            powers = [f"{one['power'][str(mark)]['share']:.1%}" for mark in MARKS]
            lines.append(f"| {first:g}, {second:g} | {title} | {' | '.join(shown + powers)} |")
        one = done[f"drop/{first}/{second}/fixed"]
        powers = [f"{one['power'][str(mark)]:.1%}" for mark in MARKS]
        lines.append(
            f"| {first:g}, {second:g} | z test, one look | {one['rows_for_80']:,} for 80 % power | | "
            f"{' | '.join(powers)} |"
        )
    lines += ["", "| other harm | median | 90 % by | by | by |", "| --- | --- | --- | --- | --- |"]
    for name, title in (
        ("pairs", "pairs: challenger alone wrong in 8 %, champion alone in 3 %"),
        ("bound", "guard rail: errors 5 %, bound 2 %"),
        ("latency", "guard rail: 10 % of times above the bound of the 95th percentile"),
    ):
        one = done[f"drop/{name}"]
        shown = [shown_time(one[key], 5000) for key in ("median", "p90")]
        powers = [f"{value['share']:.1%} by {int(mark):,}" for mark, value in one["power"].items()]
        lines.append(f"| {title} | {' | '.join(shown + powers)} |")
    return "\n".join([*lines, ""])


def is_within(values: dict[str, Any]) -> bool:
    """Whether every test held its level, and the naive one did not."""
    done = values["sections"]
    held = all(
        done[name]["share"] <= (0.01 if name in ("aa/bound", "aa/latency") else MOST_FALSE)
        for name in done
        if name.startswith("aa/") and not name.endswith(("naive", "msprt"))
    )
    fails = all(done[f"aa/{rate}/naive"]["share"] > 2 * MOST_FALSE for rate in RATES)
    found = all(done[f"drop/{first}/{second}/even"]["power"]["20000"]["share"] >= 0.99 for first, second in DROPS)
    return held and fails and found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    path = given.out / "result.json"
    settings = {"runs": given.runs, "rows": given.rows}
    values: dict[str, Any] = {"settings": settings, "sections": {}}
    if path.exists() and not given.fresh:
        known = json.loads(path.read_text(encoding="utf-8"))
        values = known if known["settings"] == settings else values
    given.out.mkdir(parents=True, exist_ok=True)
    for name, work in sections(given.runs, given.rows).items():
        if name in values["sections"]:
            continue
        began = time.perf_counter()
        values["sections"][name] = work()
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
        values |= {
            "commit": commit.stdout.strip(),
            "at": datetime.now(UTC).strftime("%Y-%m-%d"),
            "python": platform.python_version(),
            "numpy": np.__version__,
        }
        path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        print(f"{name}: {time.perf_counter() - began:.1f} s")
    (given.out / "result.md").write_text(write_tables(values), encoding="utf-8")
    print(write_tables(values))
    return 0 if is_within(values) else 1


if __name__ == "__main__":
    sys.exit(main())
