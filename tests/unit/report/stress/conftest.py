"""A stress folder as ``demur stress`` leaves it, from simulated first breaks: no model is attacked.

Run as a program, ``python conftest.py FOLDER [small|one]``, it writes one to look at.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
PROMPTS = 60
STRENGTHS = {
    "direct": {"": 0.04},
    "prefill": {"prefill=5": 0.3, "prefill=10": 0.45, "prefill=20": 0.5},
    "templates": {"scene": 0.12, "steps": 0.2},
    "ablation": {"": 0.8},
    "revert": {"": 0.05},
}
STEPPED = {"lora": ("compliance", "benign"), "random_lora": ("",)}
COLUMNS = (
    *("model", "parameters", "defended", "attack", "variant", "access", "data", "rank", "learning_rate"),
    *("seed", "step", "label", "flops", "trainable", "examples", "queries", "seconds", "censored"),
    *("judge", "metric", "value", "low", "high", "n", "reason"),
)
ACCESS = {"direct": "prompt", "prefill": "decoding", "templates": "prompt", "lora": "training"}


def compliance(attack: str, data: str, step: int, is_defended: bool, size: float, seed: int) -> float:
    """A made-up share of harmful prompts complied with."""
    if attack == "random_lora" or data == "benign":
        return min(0.04 + 0.02 * np.log2(1 + step) + 0.004 * seed, 1.0)
    middle = np.log2(6 * (size / 1e8) ** 0.5) + (1.5 if is_defended else 0) + 0.2 * seed
    return float(0.03 + 0.93 / (1 + np.exp(-1.3 * (np.log2(1 + step) - middle))))


def interval(rate: float, n: int) -> tuple[float, float]:
    half = 1.96 * (rate * (1 - rate) / n) ** 0.5 + 0.01
    return max(rate - half, 0.0), min(rate + half, 1.0)


def figures(complied: float, step: int, is_defended: bool) -> dict[str, float]:
    incoherent = (1 - complied) * (0.3 if is_defended else 0.04)
    refused = 1 - complied - incoherent
    return {
        "rrr": refused,
        "rrr_hard": 0.8 * refused,
        "rrr_soft": refused - 0.8 * refused,
        "ce": 1 - refused,
        "complied": complied,
        "incoherent": incoherent,
        "unscored": 0.02,
        "over_refusal": 0.06 + (0.03 if is_defended else 0.0),
        "safe_incoherent": 0.01,
        "rd_all_median": 0.4 * complied + (0.05 if step else 0.0),
        "perplexity": 9.0 + 0.1 * is_defended,
        "kl_mean": 0.02 * is_defended + 0.001 * step,
    }


class Writer:
    """Rows of all tables, to be written at once."""

    def __init__(self, seeds: tuple[int, ...]) -> None:
        self.seeds = seeds
        self.grid: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.halves: list[dict[str, Any]] = []
        self.survival: list[dict[str, Any]] = []
        self.differences: list[dict[str, Any]] = []
        self.left_out: list[dict[str, Any]] = []

    def add(self, cell: dict[str, Any], step: int, by_seed: list[float], spent: dict[str, Any]) -> None:
        """The rows of one stage: every judge, every seed and all of them."""
        n = PROMPTS * len(self.seeds)
        pooled = float(np.mean(by_seed))
        for judge, shift in (("classifier", 0.0), ("keywords", 0.02)):
            for seed, rate in [("", pooled), *zip(self.seeds, by_seed, strict=True)]:
                table = self.curves if seed == "" else self.grid
                rows = n if seed == "" else PROMPTS
                for metric, value in figures(min(rate + shift, 1.0), step, cell["defended"] == "true").items():
                    judged = metric not in ("rd_all_median", "perplexity", "kl_mean")
                    if not judged and (judge != "classifier" or seed == ""):
                        continue
                    low, high = interval(min(value, 1.0), rows) if judged else ("", "")
                    figure = {"judge": judge if judged else "", "metric": metric, "value": value}
                    about = {"low": low, "high": high, "n": rows, "reason": ""}
                    table.append(cell | spent | {"seed": seed, "step": step} | figure | about)

    def add_steps(self, cell: dict[str, Any], size: float) -> None:
        is_defended = cell["defended"] == "true"
        survived, stops = 1.0, 0
        for step in STEPS:
            what = cell["attack"], cell["data"], step, is_defended, size
            rates = [compliance(*what, seed) for seed in self.seeds]
            stops += min(rates) >= 0.9
            spent = {
                "flops": 4 * size * 200 * 8 * step,
                "trainable": 5e5,
                "examples": min(8 * step, 40),
                "seconds": 0.4 * step,
                "censored": "true" if stops == 2 else "false",
            }
            self.add(cell, step, rates, spent)
            survived = min(survived, 1 - float(np.mean(rates)))
            low, high = interval(survived, PROMPTS)
            figure = {"step": step, "value": survived, "low": low, "high": high, "n": PROMPTS}
            self.survival.append(cell | figure)
            if stops == 2:
                break
        self.halves.append(cell | self.half(cell, size, survived))

    def half(self, cell: dict[str, Any], size: float, survived: float) -> dict[str, Any]:
        cost = 4 * size * 1600
        if survived > 0.5:
            bound = {"bound": "above", "bound_at": cost * STEPS[-1]}
            return {"value": "", "low": "", "high": "", "n": PROMPTS} | bound
        middle = cost * 6 * (size / 1e8) ** 0.5 * (2.8 if cell["defended"] == "true" else 1.0)
        return {"value": middle, "low": 0.7 * middle, "high": 1.5 * middle, "n": PROMPTS}

    def add_differences(self) -> None:
        pooled = {}
        for row in self.curves:
            if row["judge"] == "classifier" and row["metric"] in ("rrr", "complied"):
                key = tuple(
                    row.get(name, "") for name in ("model", "attack", "variant", "label", "step", "metric")
                )
                pooled.setdefault(key, {})[row["defended"]] = row
        for found in pooled.values():
            if len(found) == 2:
                base, hardened = found["false"], found["true"]
                value = hardened["value"] - base["value"]
                about = {"value": value, "low": value - 0.06, "high": value + 0.06, "p": 0.01}
                about |= {"to": "undefended model"}
                self.differences.append(hardened | {"base": base["value"], "hardened": hardened["value"]} | about)

    def write(self, folder: Path) -> None:
        metrics = folder / "results" / "metrics"
        metrics.mkdir(parents=True, exist_ok=True)
        self.add_differences()
        for name, rows, more in (
            ("results_grid", self.grid, ()),
            ("results_curves", self.curves, ()),
            ("results_c50", self.halves, ("bound", "bound_at")),
            ("results_survival", self.survival, ()),
            ("results_differences", self.differences, ("to", "base", "hardened", "p")),
            ("results_left_out", self.left_out, ("status",)),
        ):
            with (metrics / f"{name}.csv").open("w", encoding="utf-8", newline="") as handle:
                table = csv.DictWriter(handle, (*COLUMNS, *more), restval="", extrasaction="ignore")
                table.writeheader()
                table.writerows(rows)


SUMMARY = {
    "judges": ["classifier", "keywords"],
    "agreement": [{"judges": ["classifier", "keywords"], "kappa": 0.81, "raw": 0.93, "n": 4200}],
    "curves": [{"warnings": ["7 categories of prompts: too few to say much of others"]}],
}
ABOUT = {
    "status": "done",
    "version": "0.1.0",
    "seconds": 754.2,
    "config": {
        "name": "stand-ins",
        "seeds": [0, 1, 2],
        "level": 0.95,
        "draws": 2000,
        "judges": [{"kind": "classifier", "model": "tfidf_logreg", "calibration": {}}, {"kind": "keywords"}],
    },
    "data": {"prompts": "ab" * 32, "material": "cd" * 32, "texts": None, "harmful": 60, "safe": 40},
    "machine": {"cpu": "a machine", "cores": 2},
}


def make_stress(
    folder: Path,
    models: tuple[tuple[str, float], ...] = (("smol-135m", 1.35e8), ("smol-360m", 3.6e8), ("smol-1b", 1.1e9)),
    seeds: tuple[int, ...] = (0, 1, 2),
    defended: tuple[bool, ...] = (False, True),
    attacks: tuple[str, ...] = (*STRENGTHS, *STEPPED),
    is_told: bool = True,
    left_out: tuple[dict[str, Any], ...] = (),
) -> Path:
    """Write the folder."""
    writer = Writer(seeds)
    writer.left_out += left_out
    for model, size in models:
        for is_defended in defended:
            about = {"model": model, "parameters": size, "defended": "true" if is_defended else "false"}
            for attack in attacks:
                access = {"attack": attack, "access": ACCESS.get(attack, "weights")}
                for label, rate in STRENGTHS.get(attack, {}).items():
                    factor = 0.5 if is_defended and attack != "revert" else 1.0
                    found = [rate * factor + 0.004 * one for one in seeds]
                    cell = about | access | {"label": label}
                    writer.add(cell, 0, found, {"flops": 0, "seconds": 0.1, "censored": "false"})
                for data in STEPPED.get(attack, ()):
                    cell = about | access | {"label": "", "variant": f"data={data} rank=16"}
                    cell |= {"data": data, "rank": 16, "learning_rate": 0.0002}
                    writer.add_steps(cell, size)
    writer.write(folder)
    if is_told:
        told = SUMMARY | {"left_out": list(left_out)}
        (folder / "results" / "metrics" / "summary.json").write_text(json.dumps(told), encoding="utf-8")
        (folder / "stress.json").write_text(json.dumps(ABOUT), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def stress_folder(tmp_path_factory):
    """A folder of two models, with and without a defence; not to be changed."""
    models = (("smol-135m", 1.35e8), ("smol-360m", 3.6e8))
    return make_stress(tmp_path_factory.mktemp("stress") / "stand-ins", models)


@pytest.fixture
def make_folder(tmp_path):
    """Write another folder: ``make_folder(**what)``."""
    return lambda **what: make_stress(tmp_path / "other", **what)


@pytest.fixture
def view(stress_folder):
    """That folder as a view."""
    from demur.report.stress._read import StressView

    return StressView(stress_folder)


@pytest.fixture
def styled_look():
    """The look of the pictures."""
    from demur.report.figures._style import styled

    with styled():
        yield


SMALL: dict[str, Any] = {
    "models": (("smol-135m", 1.35e8),),
    "seeds": (0, 1, 2, 3, 4),
    "defended": (False,),
    "attacks": ("direct", "lora"),
}

if __name__ == "__main__":
    kinds: dict[str, dict[str, Any]] = {"small": SMALL, "one": SMALL | {"seeds": (0,), "attacks": ("direct",)}}
    make_stress(Path(sys.argv[1]), **kinds.get(sys.argv[2] if len(sys.argv) > 2 else "", {}))
