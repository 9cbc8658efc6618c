"""One cell: an attack on a model, looked at stage by stage, and kept after each.

What was answered is not asked again, what was trained is not trained again; killed, a cell goes on at the stage it
was in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import Any

from demur.errors import DataError, LongRowError, MissingModelError, RunError, TrainingError, UsageError
from demur.llm import GenerationConfig, Target
from demur.paths import hash_value, write_json
from demur.stress._answer import Replies, ReplyFolder, answer_prompts, stage_name
from demur.stress._bench import Bench
from demur.stress._capability import capability_rows, hash_capability, measure_capability
from demur.stress._coherence import Thresholds, calibrate
from demur.stress._data import StressRows
from demur.stress._flops import count_parameters
from demur.stress._jobs import UNTOUCHED, Job
from demur.stress._measure import Baseline, distance_rows, judge_replies, rate_rows, ratio_rows, utility_rows
from demur.stress._place import CellPlace
from demur.stress._protocol import Attack, Cost, Setting, Stage
from demur.stress._samples import NULL, null_generation, stage_generation
from demur.stress._utility import measure_utility

Tell = Callable[[str, float], None]
"""Told where a cell stands, in words and as a share of the stage at hand."""
_CHANGES_THE_MODEL = ("activations", "weights", "training")


class _AttackRefusedError(Exception):
    """An attack that cannot be done to a model, with the reason."""


class _LongPromptError(Exception):
    """Prompts that an attack has made too long for the model, with the reason."""


def _blaming_the_attack(stages: Iterator[Stage]) -> Iterator[Stage]:
    """The stages; a refusal of the attack itself is told from errors of judges, measures, files and libraries."""
    while True:
        try:
            stage = next(stages)
        except StopIteration:
            return
        except (MissingModelError, DataError):
            raise
        except UsageError as error:
            raise _AttackRefusedError(str(error)) from error
        yield stage


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
        too_long: list[str] = []
        # Outside of what is blamed on the attack: a model that cannot be loaded now may be there later.
        target = self._target
        try:
            with closing(self._stages(target, self._replies.done())) as stages:
                for stage in _blaming_the_attack(stages):
                    try:
                        result["stages"].append(self._look_at(stage))
                    except _LongPromptError as error:
                        too_long.append(str(error))
                        # Another wrapping may fit; further steps make no prompt shorter.
                        if stage.label:
                            continue
                        break
                    write_json(self._place.result, result)
                    if self._is_saturated(result["stages"]):
                        result["censored"] = {"step": stage.step, "reason": "saturated"}
                        break
        except _AttackRefusedError as error:
            result |= {"status": "skipped", "reason": str(error)}
        except TrainingError as error:
            result |= {"status": "failed", "reason": str(error)}
        else:
            self._add_capability(result["stages"], target)
            result |= {"status": "skipped", "reason": "; ".join(too_long)} if too_long else {"status": "done"}
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

    def _stages(self, target: Target, done: frozenset[tuple[int, str]]) -> Generator[Stage, None, None]:
        base = self._reference if self._job.is_defended else None
        setting = Setting(
            self._rows.material,
            seed=self._job.seed,
            folder=self._place.work,
            base=base,
            generation=self._generation,
            done=done,
            prompts=tuple(one.conversation for one in self._rows.prompts if one.kind == "harmful"),
        )
        yield from self._attack.stages(target, setting)

    @property
    def _generation(self) -> GenerationConfig:
        own = self._config.generation
        return own.model_copy(update={"seed": (own.seed + 7919 * self._job.seed) % 2**31})

    def _add_capability(self, stages: list[dict[str, Any]], target: Target) -> None:
        """What the model can still do where the attack ended, among the figures of the last stage."""
        changes = self._attack.access in _CHANGES_THE_MODEL or self._job.attack == UNTOUCHED
        if not (self._config.capability.tasks and changes and stages):
            return
        place = stages[-1]["step"], stages[-1]["label"]
        # Seeds that share the answers of an untouched model share these too.
        key = hash_value([self._place.keys.work, place, hash_capability(self._config.capability)])[:20]
        path = self._place.root / "capability" / f"{key}.json"
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            figures = self._ask_capability(target, place)
            write_json(path, figures)
        stages[-1]["capability"] = figures
        stages[-1]["metrics"] += capability_rows(figures, self._config.level)

    def _ask_capability(self, target: Target, place: tuple[int, str]) -> list[dict[str, Any]]:
        # The end is known once the attack is over: that stage is put in force again, from what was kept of it.
        with closing(self._stages(target, self._replies.done() - {place})) as stages:
            stage = next(one for one in stages if (one.step, one.label) == place)
            self._tell("capability", 0)
            return measure_capability(stage.target, self._config.capability)

    def _look_at(self, stage: Stage) -> dict[str, Any]:
        """Figures of a stage, asked only where its responses are not kept."""
        name = stage_name(stage.step, stage.label)
        words = f"step {stage.step}" if not stage.label else stage.label
        self._tell(words, 0)
        kept = self._replies.read(name)
        if kept is None:
            replies = self._ask_if_it_fits(stage, words)
            record = self._record(stage)
            self._replies.write(name, replies, record, self._draw(stage, words))
            kept = replies, record
        replies, record = kept
        if self._job.is_base:
            self._draw_null(stage)
        baseline = self._baseline(replies)
        judged = judge_replies(replies, self._rows.prompts, baseline.bounds, self._bench)
        metrics = rate_rows(judged, self._rows.prompts, self._bench) + utility_rows(record, self._config)
        metrics += ratio_rows(record, baseline.utility, self._config)
        if self._config.distance.enabled:
            drawn = self._replies.read_drawn(name)
            texts = judged.chosen if drawn is None else drawn.texts
            metrics += distance_rows(texts, judged, self._rows.prompts, baseline, self._bench)
        ids = [one.id for one in self._rows.prompts]
        return {
            **{key: one for key, one in record.items() if key not in ("utility", "drawn")},
            "metrics": metrics,
            "texts": hash_value(replies.texts)[:20],
            "outcomes": {judge: dict(zip(ids, one, strict=True)) for judge, one in judged.outcomes.items()},
            "reasons": dict(judged.reasons),
            "agreement": list(judged.agreement),
            "bounds": baseline.bounds.to_json(),
        }

    def _ask_if_it_fits(self, stage: Stage, words: str) -> Replies:
        try:
            return self._ask(stage, words)
        except LongRowError as error:
            if self._job.attack == UNTOUCHED:  # of the prompts as they were given
                raise
            raise _LongPromptError(f"{words}: {error}") from error

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
        return measure_utility(stage.target, self._reference, texts)

    def _draw(self, stage: Stage, words: str) -> Replies | None:
        """Answers for distances, where those that are judged were not drawn."""
        # Greedy answers of the base serve every seed, and what is drawn beside them does too.
        seed = 0 if self._job.is_base else self._job.seed
        generation = stage_generation(stage, self._generation, self._config.distance, seed)
        if generation is None:
            return None
        self._tell(f"{words} · drawn answers", 0)
        return answer_prompts(replace(stage, generation=None, tries=1), self._rows.prompts, generation, None)

    def _draw_null(self, stage: Stage) -> None:
        """Two samples of the untampered base, once."""
        if not self._config.distance.enabled:
            return
        for number in NULL:
            if self._replies.read(f"null-{number}") is None:
                self._tell(f"sample {number} of the untampered model", 0)
                generation = null_generation(self._generation, self._config.distance, number)
                found = answer_prompts(stage, self._rows.prompts, generation, None)
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
        samples = [folder.read(f"null-{number}") for number in NULL] if self._config.distance.enabled else []
        if None in samples:
            keys = self._base_place.keys
            raise RunError(
                f"answers drawn from the untampered '{self._job.model.title}' are damaged; remove "
                f"cells/{keys.result}.json and replies/{keys.replies} from the run folder, then run the same "
                "command again"
            )
        texts = [one[0].texts for one in samples if one is not None]
        drawn = (texts[0], texts[1]) if texts else None
        return Baseline(self._base_outcomes(replies, bounds), bounds, drawn, found[1].get("utility", {}))

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
            row
            for stage in stages[-rule.times :]
            for row in stage["metrics"]
            if row["metric"] == "complied" and row["judge"] == first
        ]
        # A rate of the few responses that a judge could judge ends nothing.
        enough = sum(one.kind == "harmful" for one in self._rows.prompts) / 2
        return len(last) == rule.times and all(
            row["n"] >= enough and row["value"] is not None and row["value"] >= rule.complied for row in last
        )
