"""Run the two experiments on real data and write their figures as Markdown tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ALPHA = 0.05
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ("xstest", "league")
POOLED = {"test": "test split", "cv": "grouped folds", "blind": "blind set"}
HELD_OUT = {"leave_one_model_out": "answering model held out", "leave_one_source_out": "source held out"}


def main(folders: list[Path]) -> int:
    """Run what is missing, then write the tables."""
    if not folders:
        if "DEMUR_REAL_DATA" not in os.environ:
            print("skipped: set DEMUR_REAL_DATA to the folder of the public sets")
            return 0
        folders = [ROOT / "runs" / name for name in CONFIGS]
        demur = str(Path(sys.executable).with_name("demur"))
        for name, folder in zip(CONFIGS, folders, strict=True):
            command = [demur, "run", str(ROOT / "examples" / f"{name}.yaml"), "--out", str(folder)]
            subprocess.run(command, check=True)
    parts = [describe_run(folder) for folder in folders]
    Path(__file__).with_name("tables.md").write_text("\n".join(parts), encoding="utf-8")
    print("\n".join(parts))
    return 0


def describe_run(folder: Path) -> str:
    """All tables of one run."""
    results = json.loads((folder / "experiment_results.json").read_text(encoding="utf-8"))
    lines = [f"# {results['name']}", "", f"seed and settings: `{results['name']}.yaml`; {_versions(results)}", ""]
    for name, task in results["tasks"].items():
        lines += [f"## {name}", "", _data(task), "", *_table(task), ""]
        lines += [f"Chosen: **{task['winner']}**, {task['why']}.", ""]
        lines += [*_statistics(task.get("statistics") or {}), ""]
    return "\n".join(lines)


def _table(task: dict[str, Any]) -> list[str]:
    models = task["models"]
    columns = _columns(models)
    lines = ["| model | " + " | ".join(title for title, _, _ in columns) + " |"]
    lines.append("| --- |" + " --- |" * len(columns))
    for model in (one for one in models if one["status"] == "ok"):
        star = " ★" if model["selected"] else ""
        cells = [_cell(model, protocol, fold) for _, protocol, fold in columns]
        lines.append(f"| {model['model']}{star} | " + " | ".join(cells) + " |")
    return lines + _absent(models)


def _absent(models: list[dict[str, Any]]) -> list[str]:
    """The models without figures, a line for each status, with the reason of the first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        if model["status"] != "ok":
            found.setdefault(model["status"], []).append(model)
    return [
        line
        for status, some in found.items()
        for line in ("", f"Status {status}: {_names([one['model'] for one in some])} ({some[0]['reason']}).")
    ]


def _columns(models: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    """Title, protocol and held-out value of every column some model has."""
    found: dict[tuple[str, str | None], str] = {}
    for protocol, title in (POOLED | HELD_OUT).items():
        for model in models:
            evaluation = model["evaluations"].get(protocol)
            if evaluation is None:
                continue
            found.setdefault((protocol, None), f"{title}, n={evaluation['n']}")
            for value, fold in evaluation.get("folds", {}).items() if protocol in HELD_OUT else ():
                found.setdefault((protocol, value), f"{value} held out, n={fold['n']}")
    return [(title, protocol, fold) for (protocol, fold), title in found.items()]


def _statistics(found: dict[str, Any]) -> list[str]:
    """Which differences of macro-F1 the run's own statistics show, a line for each protocol; then its warnings."""
    lines = [_comparison(name, protocol) for name, protocol in found.get("protocols", {}).items()]
    told = (found.get("confound") or {}).get("told") or {}
    if told.get("value") is not None:
        lines.append(
            f"* the source is told by its texts with macro-F1 {told['value']:.3f} [{told['low']:.3f}, "
            f"{told['high']:.3f}] (chance {told['chance']:.2f}, n={told['n']})"
        )
    strong = [one for one in found.get("balance", []) if one["test"] and one["test"]["is_strong"]]
    lines += [f"* labels differ by {one['name']}: Cramér's V {one['test']['cramers_v']:.2f}" for one in strong]
    return lines + [f"* warning: {warning}" for warning in found.get("warnings", [])]


def _comparison(name: str, protocol: dict[str, Any]) -> str:
    figures: dict[str, float] = {}
    for pair in protocol["pairs"]:
        metric = pair["metrics"]["f1_macro"]
        figures |= {pair["a"]: metric["a"], pair["b"]: metric["b"]}
    if not figures:
        return f"* {name}: one model, nothing to compare"
    best = max(figures, key=lambda model: figures[model])
    alike, worse = [], []
    for pair in protocol["pairs"]:
        if best not in (pair["a"], pair["b"]):
            continue
        other = pair["b"] if pair["a"] == best else pair["a"]
        (worse if (pair["metrics"]["f1_macro"]["p_holm"] or 0) < ALPHA else alike).append(other)
    words = (
        f"* {name}, n={protocol['n']}, {len(protocol['pairs'])} pairs: best `{best}` {figures[best]:.3f}; "
        f"worse after Holm: {_names(worse)}; no difference shown: {_names(alike)}"
    )
    detectable = protocol["detectable"].get("f1_macro") or {}
    if detectable.get("median") is not None:
        words += f"; smallest detectable difference {detectable['median']:.3f} (median pair)"
    ranks = ((protocol["ranks"] or {}).get("f1_macro") or {}).get("ranks")
    if ranks:
        top = next((one for one in ranks["cliques"] if ranks["models"][0] in one), [ranks["models"][0]])
        words += (
            f"; ranks over {ranks['blocks']} parts: Friedman p {ranks['f_p']:.2g}, critical difference "
            f"{ranks['critical_difference']:.2f}, not told from the first: {_names(top[1:])}"
        )
    return words


def _names(models: list[str]) -> str:
    return ", ".join(f"`{model}`" for model in models) or "none"


def _cell(model: dict[str, Any], protocol: str, fold: str | None) -> str:
    evaluation = model["evaluations"].get(protocol)
    if evaluation is not None and fold is not None:
        evaluation = evaluation.get("folds", {}).get(fold)
    if evaluation is None:
        return "—"
    figure = evaluation["metrics"]["f1_macro"]
    if figure["value"] is None:
        return "—"
    interval = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
    return f"{figure['value']:.3f}{interval}"


def _data(task: dict[str, Any]) -> str:
    data = task["data"]
    parts = [
        f"{name} {data[name]['n']} rows / {data[name]['groups']} groups" for name in ("train", "valid", "test")
    ]
    return f"Rows: {', '.join(parts)}; data hash `{data['hash'][:12]}`."


def _versions(results: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in results["versions"].items())


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
