"""Trains a tiny random model, killed by SIGKILL at several points and started again each time.

Run as ``python killed_training.py FOLDER``; prints, as JSON, how each run ended and what an unbroken one gave.
Every attempt is a process of its own, forked so that the libraries are loaded once.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import TrainerState

from demur.tasks import REFUSAL
from demur.training import (
    PadCollator,
    Progress,
    TokenDataset,
    TokenRows,
    TrainConfig,
    TrainSetup,
    train_classifier,
    validation_score,
)

CONFIG = TrainConfig(
    epochs=3,
    batch_size=4,
    accumulate=2,
    learning_rate=0.02,
    scheduler="cosine",
    evals_per_epoch=2,
    patience=99,
    loss="focal",
    gamma=1.0,
    class_weights="adaptive",
    balance={"patience": 1},  # type: ignore[arg-type]
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.inner = nn.LSTM(8, 8, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden, _ = self.inner(self.embedding(input_ids))
        return {"logits": self.out(self.dropout(hidden.mean(dim=1)))}


def make_rows(count: int, seed: int) -> TokenDataset:
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, count)
    ids = [
        np.array([target + 1, *random.integers(4, 20, random.integers(1, 9))], dtype=np.int32)
        for target in targets
    ]
    return TokenDataset(TokenRows(ids, [np.zeros_like(row) for row in ids]), targets.astype(np.int64))


def train(folder: Path, progress: Callable[[Progress], None] | None = None) -> dict[str, Any]:
    torch.manual_seed(0)
    net = Net()
    setup = TrainSetup(3, PadCollator(0, ["input_ids"]), validation_score(REFUSAL), folder, progress, task=REFUSAL)
    result = train_classifier(net, make_rows(42, 0), make_rows(20, 1), CONFIG, 5, setup)
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in net.parameters())
    return {
        "weights": hashlib.sha256(weights).hexdigest(),
        "history": result.history,
        "trajectory": result.alpha_trajectory,
        "best_epoch": result.best_epoch,
        "steps": result.steps,
    }


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step == step:
            die()

    return report


def die_while_writing(step: int, share: float) -> None:
    """Die when the state of this step's checkpoint is written, after that share of it."""
    write = TrainerState.save_to_json

    def cut(self: Any, path: str) -> None:
        write(self, path)
        if self.global_step == step:
            text = Path(path).read_text()
            Path(path).write_text(text[: int(share * len(text))])
            die()

    TrainerState.save_to_json = cut


def die_between(step: int) -> None:
    """Die when a checkpoint's weights are written and nothing else of it."""
    write = transformers.Trainer._save_optimizer_and_scheduler

    def cut(self: Any, folder: str) -> None:
        if self.state.global_step == step:
            die()
        write(self, folder)

    transformers.Trainer._save_optimizer_and_scheduler = cut


def attempt(folder: Path, number: int) -> None:
    progress = None
    if number == 0:
        progress = die_at(1)
    elif number == 1:
        progress = die_at(5)
    elif number == 2:
        die_between(6)
    elif number == 3:
        die_while_writing(9, 0.5)
    elif number == 4:
        die_while_writing(12, 1.0)
    elif number == 5:
        progress = die_at(17)
    (folder / "result.json").write_text(json.dumps(train(folder / "checkpoints", progress)))


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    whole, broken = folder / "whole", folder / "broken"
    for path in (whole, broken):
        path.mkdir()
    ends = [in_child(lambda: attempt(whole, -1))]
    ends += [in_child(lambda number=number: attempt(broken, number)) for number in range(7)]  # type: ignore[misc]
    results = {path.name: json.loads((path / "result.json").read_text()) for path in (whole, broken)}
    sys.stdout.write(json.dumps({"ends": ends, **results}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
