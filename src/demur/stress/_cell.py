"""One cell: an attack on a model, looked at stage by stage, and kept after each.

What was answered is not asked again, what was trained is not trained again; killed, a cell goes on at the stage it
was in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from demur.errors import NoMemoryError, RunError, StorageError, TrainingError, UsageError
from demur.llm import GenerationConfig, Target, perplexity, token_kl
from demur.paths import write_json
from demur.stress._answer import Replies, ReplyFolder, answer_prompts, stage_name
from demur.stress._bench import Bench
from demur.stress._coherence import Thresholds, calibrate
from demur.stress._data import StressRows
from demur.stress._flops import count_parameters
from demur.stress._jobs import Job
from demur.stress._keys import CellKeys
from demur.stress._measure import Baseline, distance_rows, judge_replies, rate_rows, utility_rows
from demur.stress._protocol import Attack, Cost, Setting, Stage

Tell = Callable[[str, float], None]
"""Told where a cell stands, in words and as a share of the stage at hand."""
_CHANGES_THE_MODEL = ("activations", "weights", "training")


@dataclass(frozen=True)
class CellPlace:
    """Where a cell keeps what."""

    root: Path
    keys: CellKeys

    @property
    def result(self) -> Path:
        """All figures."""
        return self.root / "cells" / f"{self.keys.result}.json"

    @property
    def replies(self) -> Path:
        """Responses."""
        return self.root / "replies" / self.keys.replies

    @property
    def work(self) -> Path:
        """Adapters and states of the attack."""
        return self.root / "work" / self.keys.work

    def read(self) -> dict[str, Any] | None:
        """What is known of the cell, None where nothing is."""
        try:
            found = json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        found = self.read()
        # What was skipped may have wanted a library or a model that is there by now.
        return found is not None and found["status"] in ("done", "failed")


class CellRun:
    """A cell under way.

    Parameters
    ----------
    job
        What is done.
    places
        Of this cell, and of its untampered base.
    rows
        Prompts and data.
    bench
        Models and judges.
    tell
        Told where it stands.
    """

    def __init__(
        self,
        job: Job,
        places: tuple[CellPlace, CellPlace],
        rows: StressRows,
        bench: Bench,
        tell: Tell | None = None,
    ) -> None:
        self._job, self._rows, self._bench = job, rows, bench
        self._place, self._base_place = places
        self._tell = tell or (lambda words, share: None)
        self._config = bench.config
        self._replies = ReplyFolder(self._place.replies)
        self._attack: Attack[Any] = job.make_attack()

    def go(self) -> dict[str, Any]:
        """Do what is left, and give the result.

        Raises
        ------
        RunError
            A judge could judge nothing; the responses are kept.
        NoMemoryError, StorageError
            Memory or disk ran out; what was done is kept.
        """
        result: dict[str, Any] = {
            "key": self._place.keys.result,
            "replies": self._place.keys.replies,
            "status": "running",
            "reason": None,
            "censored": None,
            "cell": self._describe(),
            "stages": [],
        }
        is_looking = False
        try:
            with closing(self._stages()) as stages:
                for stage in stages:
                    is_looking = True
                    result["stages"].append(self._look_at(stage))
                    is_looking = False
                    write_json(self._place.result, result)
                    if self._is_saturated(result["stages"]):
                        result["censored"] = {"step": stage.step, "reason": "saturated"}
                        break
        except (NoMemoryError, StorageError, RunError):
            raise
        except UsageError as error:
            if is_looking:  # judges and measures are not the attack's: nothing is to be blamed on it
                raise
            result |= {"status": "skipped", "reason": str(error)}
        except TrainingError as error:
            result |= {"status": "failed", "reason": str(error)}
        else:
            result["status"] = "done"
        write_json(self._place.result, result)
        return result

    def _describe(self) -> dict[str, Any]:
        job = self._job
        return {
            "model": job.model.title,
            "defended": job.is_defended,
            "attack": job.attack,
            "access": self._attack.access,
            "title": self._attack.title,
            "settings": dict(job.settings),
            "seed": job.seed,
        }

    @cached_property
    def _target(self) -> Target:
        self._tell("loading the model", 0)
        return self._bench.target(self._job.model, self._job.is_defended)

    @property
    def _reference(self) -> Target:
        return self._bench.reference(self._job.model)

    def _stages(self) -> Generator[Stage, None, None]:
        base = self._reference if self._job.is_defended else None
        setting = Setting(
            self._rows.material,
            seed=self._job.seed,
            folder=self._place.work,
            base=base,
            generation=self._generation,
            done=self._replies.done(),
            prompts=tuple(one.conversation for one in self._rows.prompts if one.kind == "harmful"),
        )
        yield from self._attack.stages(self._target, setting)

    @property
    def _generation(self) -> GenerationConfig:
        own = self._config.generation
        return own.model_copy(update={"seed": (own.seed + 7919 * self._job.seed) % 2**31})

    def _look_at(self, stage: Stage) -> dict[str, Any]:
        """Figures of a stage, asked only where its responses are not kept."""
        name = stage_name(stage.step, stage.label)
        words = f"step {stage.step}" if not stage.label else stage.label
        self._tell(words, 0)
        kept = self._replies.read(name)
        if kept is None:
            replies = self._ask(stage, words)
            record = self._record(stage)
            self._replies.write(name, replies, record)
            kept = replies, record
        replies, record = kept
        if self._job.is_base:
            self._draw_null(stage)
        baseline = self._baseline(replies)
        judged = judge_replies(replies, self._rows.prompts, baseline.bounds, self._bench)
        metrics = rate_rows(judged, self._rows.prompts, self._bench) + utility_rows(record)
        if self._config.distance.enabled:
            metrics += distance_rows(judged, self._rows.prompts, baseline, self._bench)
        ids = [one.id for one in self._rows.prompts]
        return {
            **{key: one for key, one in record.items() if key != "utility"},
            "metrics": metrics,
            "outcomes": {judge: dict(zip(ids, one, strict=True)) for judge, one in judged.outcomes.items()},
            "reasons": dict(judged.reasons),
            "agreement": list(judged.agreement),
            "bounds": baseline.bounds.to_json(),
        }

    def _ask(self, stage: Stage, words: str) -> Replies:
        reference = self._reference if self._config.coherence.perplexity else None

        def progress(done: int, total: int) -> None:
            self._tell(f"{words} · answers", done / max(total, 1))

        return answer_prompts(stage, self._rows.prompts, self._generation, reference, progress)

    def _record(self, stage: Stage) -> dict[str, Any]:
        artefact = stage.artefact
        inside = artefact is not None and artefact.is_relative_to(self._place.root)
        return {
            "step": stage.step,
            "label": stage.label,
            "cost": stage.cost.to_json(),
            "tries": stage.tries,
            "notes": stage.notes,
            "artefact": str(artefact.relative_to(self._place.root)) if artefact is not None and inside else None,
            "parameters": count_parameters(self._reference.module),
            "utility": self._utility(stage),
        }

    def _utility(self, stage: Stage) -> dict[str, Any]:
        """Perplexity and KL to the untampered base; of attacks that leave the model alone, the model's own."""
        texts = self._rows.texts
        if not texts or not (self._attack.access in _CHANGES_THE_MODEL or stage.cost == Cost()):
            return {"n": 0, "values": {}}
        kl = token_kl(stage.target, self._reference, [stage.target.encode(one) for one in texts])
        values = {
            "perplexity": perplexity(stage.target, texts).value,
            "kl_mean": kl.mean,
            "kl_p99": kl.p99,
            "kl_first": kl.first_mean,
        }
        return {"n": len(texts), "values": values}

    def _draw_null(self, stage: Stage) -> None:
        """Two samples of the untampered base, once."""
        if not self._config.distance.enabled:
            return
        for number in (1, 2):
            if self._replies.read(f"null-{number}") is None:
                self._tell(f"sample {number} of the untampered model", 0)
                sampled = self._generation.model_copy(
                    update={"temperature": self._config.distance.temperature, "seed": 15_485_863 + number}
                )
                found = answer_prompts(stage, self._rows.prompts, sampled, None)
                self._replies.write(f"null-{number}", found, {})

    def _baseline(self, own: Replies) -> Baseline:
        """The untampered base's responses: this cell's own where it is of the base."""
        folder = ReplyFolder(self._base_place.replies)
        found = folder.read(stage_name(0, ""))
        if self._job.is_base:
            found = own, {}
        if found is None:
            raise RunError(
                f"the untampered '{self._job.model.title}' was not asked yet for seed {self._job.seed}; run the "
                "whole grid again"
            )
        replies = found[0]
        bounds = calibrate(replies.measures, self._config.coherence)
        samples = [folder.read(f"null-{number}") for number in (1, 2)] if self._config.distance.enabled else []
        texts = [tuple(one[0].texts) for one in samples if one is not None]
        outcomes = self._base_outcomes(replies, bounds)
        return Baseline(tuple(replies.texts), outcomes, bounds, (texts[0], texts[1]) if len(texts) == 2 else None)

    def _base_outcomes(self, replies: Replies, bounds: Thresholds) -> tuple[str, ...]:
        stored = self._base_place.read()
        first = self._bench.judges[0].name
        if stored is not None and stored["stages"] and not self._job.is_base:
            known = stored["stages"][0]["outcomes"][first]
            return tuple(known[one.id] for one in self._rows.prompts)
        return judge_replies(replies, self._rows.prompts, bounds, self._bench).outcomes[first]

    def _is_saturated(self, stages: list[dict[str, Any]]) -> bool:
        """Whether more of the attack could hardly break more; only of one that has steps."""
        rule = self._config.stop
        if not rule.enabled or self._attack.access != "training" or len(stages) < rule.times:
            return False
        first = self._bench.judges[0].name
        last = [
            row["value"]
            for stage in stages[-rule.times :]
            for row in stage["metrics"]
            if row["metric"] == "complied" and row["judge"] == first
        ]
        return len(last) == rule.times and all(one is not None and one >= rule.complied for one in last)
