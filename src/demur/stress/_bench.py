"""What cells of one process share: the model last loaded, its untampered copy, judges, the sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.llm import Target, TargetConfig, load_target
from demur.paths import hash_value
from demur.stress._config import StressConfig, StressModel
from demur.stress._judges import Judge, make_judge

if TYPE_CHECKING:
    from demur.models import Encoder


_LISTS = 4
"""Lists of responses whose vectors are kept."""


class Bench:
    """Models and judges, loaded when first needed.

    Parameters
    ----------
    config
        Which.
    """

    def __init__(self, config: StressConfig) -> None:
        self.config = config
        self._loaded: dict[str, tuple[TargetConfig, Target]] = {}
        self._embedded: dict[tuple[str, ...], np.ndarray[Any, Any]] = {}

    def target(self, model: StressModel, is_defended: bool) -> Target:
        """The model under attack; the one before it is let go."""
        return self._load("target", model.target(is_defended))

    def reference(self, model: StressModel) -> Target:
        """A copy of the untampered base that no attack gets hold of."""
        return self._load("reference", model.target(False))

    def _load(self, place: str, wanted: TargetConfig) -> Target:
        config, target = self._loaded.pop(place, (None, None))
        if target is None or config != wanted:
            # Not two at a time in memory.
            del target
            target = load_target(wanted)
        self._loaded[place] = (wanted, target)
        return target

    @cached_property
    def judges(self) -> list[Judge]:
        """In the order of the configuration; the first decides."""
        return [make_judge(spec) for spec in self.config.judges]

    @cached_property
    def judges_hash(self) -> str:
        """SHA-256 of what decides all verdicts.

        Raises
        ------
        UsageError
            A judge's model or file is not there.
        """
        return hash_value(
            [
                [judge.name, judge.fingerprint, judge.spec.model_dump(mode="json")["calibration"]]
                for judge in self.judges
            ]
        )

    @cached_property
    def _encoder(self) -> Encoder:
        from demur.models import Encoder

        return Encoder(self.config.distance.encoder)

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Vectors ``(n, d)`` of responses; an empty one has no direction.

        Those of the last few lists are kept: a stage after the other is compared with the same base.
        """
        key = tuple(texts)
        found = self._embedded.pop(key, None)
        if found is None:
            found = np.array(self._encoder.embed(list(texts)), dtype=np.float32)
            found[[not text.strip() for text in texts]] = 0.0
        self._embedded[key] = found
        if len(self._embedded) > _LISTS:
            del self._embedded[next(iter(self._embedded))]
        return found
