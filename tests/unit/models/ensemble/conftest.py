"""Members that remember what they learned from, in place of real ones."""

import numpy as np
import pytest

from demur.config import Settings
from demur.data import Records
from demur.models import BaseClassifier
from demur.models.ensemble import _train
from demur.tasks import REFUSAL


class Spy(BaseClassifier):
    """Knows the share of each class among the rows it learned from, and their groups."""

    family = "spy"
    config_type = Settings
    wants_companions = True

    def __init__(self, task, log, number, watches=False):
        super().__init__(task)
        self.log, self.number, self.watches = log, number, watches
        self.wants_valid = watches

    def _fit(self, train, targets, valid):
        self.learned = set(train.column("group"))
        self.watched = set() if valid is None else set(valid.column("group"))
        self.share = np.bincount(targets, minlength=3) / len(targets)
        self.log.append({"spy": self, "learned": self.learned, "watched": self.watched, "rows": len(train)})

    def _predict(self, records):
        seen = set(records.column("group")) & (self.learned | self.watched)
        self.log.append({"spy": self, "judged": set(records.column("group")), "seen": seen})
        return np.tile(self.share, (len(records), 1))

    def _write(self, folder):
        raise NotImplementedError

    def _read(self, folder):
        raise NotImplementedError


@pytest.fixture
def spies(monkeypatch):
    """What all members did, in order; members are spies from now on, every second of them one that watches."""
    log = []

    def make(config, task, seed):
        return [Spy(task, log, number, number % 2 == 1) for number in range(len(config.members))]

    monkeypatch.setattr(_train, "new_members", make)
    return log


@pytest.fixture
def grouped():
    """Maker of labelled rows in groups of three: ``grouped(n, labels)``."""

    def make(n=90, labels=REFUSAL.labels, size=3):
        return Records.from_rows(
            {
                "id": f"r{number}",
                "prompt": f"what of {number // size}",
                "response": f"text {number}",
                "group": f"g{number // size}",
                "refusal": labels[(number + number // size) % len(labels)],
            }
            for number in range(n)
        )

    return make
