"""A small world to retrain in: original data, a golden set, a champion, an experiment, answers with feedback."""

import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from tests.conftest import make_rows, write_rows

NOON = datetime(2031, 5, 4, 12, 0, tzinfo=UTC)
FLIPPED = {"no_refusal": "hard_refusal", "hard_refusal": "no_refusal", "soft_refusal": "no_refusal"}
TASK = "refusal"


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def wait_until(claim, deadline_s=240):
    """Give what the claim gives once it is true; fail at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        found = claim()
        if found:
            return found
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.05)


def save_champion(folder):
    """A model of the very kind that the experiment trains, of the original data."""
    from demur.config import parse_settings
    from demur.data import Records
    from demur.models import find_preset
    from demur.tasks import REFUSAL

    family, settings = find_preset("tfidf_nb")
    classifier = family(REFUSAL, parse_settings(family.config_type, settings), 7)
    classifier.fit(Records.from_rows(make_rows(240)))
    classifier.save(folder)
    return folder


class World:
    """Files of one world; made once, read only."""

    def __init__(self, folder):
        self.folder = folder
        self.base = write_rows(folder / "base.jsonl", make_rows(240))
        self.golden = write_rows(folder / "golden.jsonl", make_rows(240, first=4000))
        self.experiment = folder / "experiment.yaml"
        self.experiment.write_text(
            yaml.safe_dump(
                {
                    "name": "tiny",
                    "tasks": [TASK],
                    "data": [{"path": "base.jsonl"}],
                    "blind": [],
                    "clean": {"detect_language": False},
                    "validation": {"leave_one_out": []},
                    "models": ["tfidf_nb"],
                    "draws": 20,
                    "report": False,
                }
            )
        )
        self.champion = save_champion(folder / "champion")

    def settings(self, **changes):
        """A task's settings as a mapping."""
        values = {
            "experiment": str(self.experiment),
            "golden": str(self.golden),
            "golden_sha256": sha256(self.golden),
            "gather": {"min_rows": 20},
            "compare": {"draws": 100, "permutations": 99},
            "cool_down_hours": 0,
        }
        return values | changes

    def config(self, folder, **changes):
        """A whole ``retrain`` section."""
        whole = {
            name: changes.pop(name) for name in ("nice", "max_hours", "attempts", "keep_data") if name in changes
        }
        return {
            "folder": str(folder),
            "tasks": {TASK: self.settings(**changes)},
            "every_s": 0.2,
            "nice": 0,
        } | whole

    def row(self):
        """The champion as a row of the registry."""
        from demur.serve.pool import find_models

        (row,) = find_models([self.champion])
        return row


def prediction(row, version="v1", at=NOON, **values):
    """An answer whose text was kept, right and sure unless told otherwise."""
    from demur.store import PredictionRow

    label = values.pop("label", row[TASK])
    sure = values.pop("sure", 0.6)
    defaults = {
        "request_id": row["id"],
        "task": TASK,
        "model": "tfidf_nb",
        "version": version,
        "label": label,
        "probabilities": {label: sure},
        "threat_score": 0.5,
        "prompt": row["prompt"],
        "response": row["response"],
        "key_id": "app",
        "at": at,
    }
    return PredictionRow(**(defaults | values))


def answer(store, rows, key="app", source="user", flip=False, at=NOON, **values):
    """Answers in the store, with feedback on each: the truth, or another label."""
    from demur.store import FeedbackRow

    store.add_predictions([prediction(row, at=at, **values) for row in rows])
    store.add_feedback(
        [
            FeedbackRow(
                id=f"{key}-{source}-{row['id']}",
                request_id=row["id"],
                task=TASK,
                label=FLIPPED[row[TASK]] if flip else row[TASK],
                source=source,
                key_id=key,
                at=at + timedelta(minutes=1),
            )
            for row in rows
        ]
    )


def clean_environment():
    """Of a process: one thread, and nothing of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEMUR_")}
    return kept | {"OMP_NUM_THREADS": "1"}
