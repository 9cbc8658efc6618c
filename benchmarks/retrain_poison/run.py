"""What poisoned feedback does to a challenger, and whether the gate lets it through; see README.md.

    python benchmarks/retrain_poison/run.py [--models tfidf_logreg] [--limit 1500] [--out FOLDER]

With DEMUR_REAL_DATA naming the folder of refusal.jsonl its rows are used; else the starter corpus.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TASK = "refusal"
NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
PARTS = {"base": 0.4, "golden": 0.35, "new": 0.25}
MARGIN = 0.1
"""Wider than the default, for slices of 150 rows; it favours the poisoned challengers too."""
TURN = {"no_refusal": "hard_refusal", "hard_refusal": "no_refusal", "soft_refusal": "no_refusal"}


@dataclass(frozen=True)
class Scenario:
    """Who says what of the new rows."""

    share: float
    """Of the new rows whose label is turned into another."""
    keys: int
    """Keys that the turned labels come with."""
    is_guarded: bool
    """Whether flips need confirming and keys have shares, as by default."""

    @property
    def name(self) -> str:
        """As it is listed."""
        return f"{self.share:.0%} turned, {self.keys} key(s), {'guarded' if self.is_guarded else 'unguarded'}"


SCENARIOS = (
    Scenario(0.0, 1, is_guarded=False),
    Scenario(0.1, 20, is_guarded=False),
    Scenario(0.25, 20, is_guarded=False),
    Scenario(0.5, 20, is_guarded=False),
    Scenario(1.0, 20, is_guarded=False),
    Scenario(0.5, 1, is_guarded=True),
    Scenario(0.5, 20, is_guarded=True),
)


def read_parts(limit: int | None) -> dict[str, Any]:
    """The rows, in parts that share no group."""
    import numpy as np
    import polars as pl

    from demur.data import Records, assign_groups, clean_records, load_starter
    from demur.tasks import REFUSAL

    real = os.environ.get("DEMUR_REAL_DATA")
    if real:
        lines = (Path(real) / "refusal.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        records = Records.from_rows(
            [
                {key: row[key] for key in ("id", "prompt", "response", "source", "model")} | {TASK: row["label"]}
                for row in rows
                if row["label"] in REFUSAL.labels
            ]
        )
    else:
        records = load_starter("all")
    cleaned = clean_records(records.labelled(REFUSAL), None, [REFUSAL])[0]
    generator = np.random.default_rng(0)
    if limit is not None and limit < len(cleaned):
        cleaned = cleaned.take(np.sort(generator.permutation(len(cleaned))[:limit]))
    grouped = assign_groups(cleaned)
    groups = grouped.groups()
    order = generator.permutation(int(groups.max()) + 1)
    ends = np.cumsum([round(share * len(order)) for share in PARTS.values()])
    ends[-1] = len(order)
    starts = [0, *ends[:-1]]
    parts = {
        name: grouped.take(np.flatnonzero(np.isin(groups, order[start:end])))
        for name, start, end in zip(PARTS, starts, ends, strict=True)
    }
    # The champion knows one source; the world has others too by now, so that there is something to learn.
    (known,) = parts["base"].frame.get_column("source").mode().sort().head(1)
    parts["base"] = parts["base"].filter(pl.col("source") == known)
    return parts


def prepare(folder: Path, parts: dict[str, Any], model: str) -> dict[str, Any]:
    """Files of the data, the experiment, and a champion trained on the base rows alone."""
    import yaml

    from demur.data import write_records
    from demur.experiment import run_experiment
    from demur.paths import hash_file

    for name in ("base", "golden"):
        write_records(parts[name], folder / f"{name}.jsonl")
    experiment = {
        "name": "poison",
        "tasks": [TASK],
        "data": [{"path": str(folder / "base.jsonl")}],
        "blind": [],
        "validation": {"leave_one_out": []},
        "models": [model],
        "draws": 100,
        "report": False,
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(experiment))
    run_experiment(folder / "experiment.yaml", out=folder / "champion")
    return {
        "experiment": str(folder / "experiment.yaml"),
        "golden": str(folder / "golden.jsonl"),
        "golden_sha256": hash_file(folder / "golden.jsonl"),
        "compare": {"slices": ["source", "label", "length"], "margin": MARGIN},
    }


def fill(url: str, rows: Any, champion: Path, scenario: Scenario) -> int:
    """Answers of the champion to the new rows, with feedback; how many labels were turned."""
    import numpy as np

    from demur.models import load
    from demur.store import FeedbackRow, PredictionRow, open_store

    said = load(champion).predict(rows)
    truth = rows.frame.get_column(TASK).to_list()
    drawn = np.random.default_rng(1).random(len(rows)) < scenario.share
    predictions, feedback = [], []
    for place, (prompt, response) in enumerate(zip(rows.texts("prompt"), rows.texts("response"), strict=True)):
        chances = dict(zip(said.task.labels, said.probabilities[place].tolist(), strict=True))
        predictions.append(
            PredictionRow(
                request_id=f"r{place}",
                task=TASK,
                model="champion",
                version="v1",
                label=said.labels[place],
                probabilities=chances,
                threat_score=float(said.threat_score[place]),
                prompt=prompt,
                response=response,
                at=NOON,
            )
        )
        is_turned = bool(drawn[place])
        feedback.append(
            FeedbackRow(
                id=f"f{place}",
                request_id=f"r{place}",
                task=TASK,
                label=TURN[truth[place]] if is_turned else truth[place],
                key_id=f"evil{place % scenario.keys}" if is_turned else f"app{place % 10}",
                at=NOON + timedelta(minutes=1),
            )
        )
    with open_store(url) as store:
        store.migrate()
        store.add_predictions(predictions)
        store.add_feedback(feedback)
    return int(drawn.sum())


def run_scenario(
    folder: Path, parts: dict[str, Any], settings: dict[str, Any], scenario: Scenario
) -> dict[str, Any]:
    """Gather, train and compare; the figures."""
    from demur.config import parse_settings
    from demur.serve.pool import find_models
    from demur.serve.retrain import Order, TaskConfig, compare, gather, train

    (champion,) = find_models([folder / "champion"])
    place = Path(tempfile.mkdtemp(dir=folder))
    url = f"sqlite:///{place / 'demur.db'}"
    turned = fill(url, parts["new"], Path(champion.folder), scenario)
    guards = {} if scenario.is_guarded else {"labels": {"confirm_flips": False, "max_key_share": 1.0}}
    order = Order(
        id=place.name,
        work="gathering",
        task=TASK,
        folder=place / "run",
        models=place / "models",
        settings=parse_settings(TaskConfig, settings | guards),
        database=url,
        at=NOON + timedelta(days=1),
        champion=champion.folder,
        champion_version=champion.version,
    )
    started = time.perf_counter()
    order.files.write_result("gathering", gathered := gather(order))
    order.files.write_result("training", train(order))
    found = compare(order)
    golden = found["gate"]["pairs"]["golden"]
    whole = {one["set"]: one for one in found["gate"]["slices"] if one["name"] == "all"}
    return {
        "scenario": scenario.name,
        "turned": turned,
        "new_rows": len(parts["new"]),
        "unconfirmed": gathered["labels"]["unconfirmed"],
        "capped": gathered["labels"]["capped"]["key"],
        "trained_on": gathered["rows"]["new_train"],
        "score": [golden["metrics"]["custom_score"]["b"], golden["metrics"]["custom_score"]["a"]],
        "accuracy_golden": [whole["golden"]["accuracy_champion"], whole["golden"]["accuracy_challenger"]],
        "accuracy_recent": [whole["recent"]["accuracy_champion"], whole["recent"]["accuracy_challenger"]]
        if "recent" in whole
        else None,
        "is_accepted": found["gate"]["is_accepted"],
        "reasons": found["gate"]["reasons"],
        "seconds": round(time.perf_counter() - started, 1),
    }


def write_page(out: Path, result: dict[str, Any]) -> str:
    """A table of all scenarios."""
    lines = [
        f"Rows: {result['rows']}; {result['data']}, {result['model']}, margin {MARGIN}, commit "
        f"{result['commit']}, {result['machine']}.",
        "",
        "| feedback | new rows trained on | unconfirmed, capped | score, old and new | golden right, old and new "
        "| recent right, old and new | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in result["scenarios"]:
        pairs = [
            "-" if pair is None else f"{pair[0]:.3f}, {pair[1]:.3f}"
            for pair in (one["score"], one["accuracy_golden"], one["accuracy_recent"])
        ]
        verdict = "accepted" if one["is_accepted"] else "refused"
        lines.append(
            f"| {one['scenario']} | {one['trained_on']} | {one['unconfirmed']}, {one['capped']} "
            f"| {' | '.join(pairs)} | {verdict} |"
        )
    page = "\n".join(lines) + "\n"
    (out / "result.md").write_text(page, encoding="utf-8")
    return page


def main() -> int:
    """Measure; exits with 1 where a challenger of half or more turned labels, unguarded, was accepted."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tfidf_logreg")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--scenarios", type=int, default=len(SCENARIOS))
    parser.add_argument("--out", type=Path, default=HERE)
    given = parser.parse_args()
    parts = read_parts(given.limit)
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result: dict[str, Any] = {
        "data": "XSTest responses" if os.environ.get("DEMUR_REAL_DATA") else "starter corpus",
        "model": given.model,
        "rows": {name: len(rows) for name, rows in parts.items()},
        "commit": head.stdout.strip(),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "scenarios": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = prepare(folder, parts, given.model)
        for scenario in SCENARIOS[: given.scenarios]:
            result["scenarios"].append(run_scenario(folder, parts, settings, scenario))
            print(json.dumps(result["scenarios"][-1]), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(write_page(given.out, result))
    passed = [
        one
        for one, scenario in zip(result["scenarios"], SCENARIOS, strict=False)
        if scenario.share >= 0.5 and not scenario.is_guarded and one["is_accepted"]
    ]
    return 1 if passed else 0


if __name__ == "__main__":
    raise SystemExit(main())
