"""Settings of retraining: which data, which labels are believed, when a challenger is refused, how it is tried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from demur.config import Settings
from demur.serve.experiments import GuardConfig, PromoteConfig, RollBackConfig, ShadowConfig

TaskName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
LabelSource = Literal["user", "judge", "people"]
COMMON_SLICES = ("source", "label", "lang", "length")
"""Columns that every set can be cut by; others must be in the golden set."""


class LabelFile(Settings):
    """Labelled rows with their texts in a file: what people annotated, or feedback whose texts are not logged."""

    path: str = Field(min_length=1, description="A file of records: JSON lines, CSV, Parquet.")
    columns: dict[str, str] = Field(default={}, description="Our column to theirs, such as `refusal: label`.")
    label_maps: dict[str, dict[str, str | None]] = Field(default={}, description="Task to their label to ours.")
    labelled_by: LabelSource = Field(
        default="people", description="Who gave the labels, where rows have no column `labelled_by`."
    )


class LabelsConfig(Settings):
    """Which labels are believed."""

    sources: tuple[LabelSource, ...] = Field(
        default=("user", "judge", "people"), min_length=1, description="Whose labels are used."
    )
    agreement: float = Field(
        default=0.67,
        gt=0.5,
        le=1,
        description="Share of the votes of one source on a text that its label needs; a key has one vote.",
    )
    flip_probability: float = Field(
        default=0.9,
        gt=0.5,
        le=1,
        description="A user's label against an answer at least this probable counts as a suspicious flip.",
    )
    confirm_flips: bool = Field(
        default=True,
        description="Whether such a flip needs a second key, a judge or people that say the same.",
    )
    max_key_share: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="Largest share of the training rows that users' labels of one key make.",
    )
    max_subject_share: float = Field(
        default=0.05, gt=0, le=1, description="The same of one subject, who is one user behind a key."
    )


class GatherConfig(Settings):
    """Which rows are gathered."""

    window_days: float = Field(default=90.0, gt=0, le=3650, description="Days back from which feedback is taken.")
    min_rows: int = Field(default=50, ge=1, description="New labelled rows below which nothing is trained.")
    holdout: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Share of the new groups never trained on, for the comparison; the same ones each time.",
    )


class CompareConfig(Settings):
    """When a challenger is refused."""

    margin: float = Field(
        default=0.05, gt=0, lt=0.5, description="Drop of accuracy on a slice that is still borne, as 0.05."
    )
    alpha: float = Field(
        default=0.05,
        gt=0,
        lt=0.5,
        description="Largest chance that a challenger is accepted that is worse by the margin on some slice.",
    )
    joint: bool = Field(
        default=False,
        description="Whether claims of no worse must hold all together (Holm); a wrong acceptance has at most the "
        "chance alpha either way, since every claim must be shown.",
    )
    min_rows: int = Field(default=30, ge=10, description="Rows below which a slice is said to be too small.")
    slices: tuple[str, ...] = Field(
        default=COMMON_SLICES, description="Columns by whose values rows are cut into guarded slices."
    )
    small: Literal["say", "refuse"] = Field(
        default="say", description="What a slice that is too small to be tested does."
    )
    score_margin: float = Field(
        default=0.0, ge=0, lt=1, description="How far the security score may lie below the champion's."
    )
    draws: int = Field(default=1000, ge=100, le=100_000, description="Bootstrap draws of the differences.")
    permutations: int = Field(default=9999, ge=99, le=10**6, description="Swaps behind their p-values.")


class RolloutConfig(Settings):
    """How an accepted challenger is tried on live requests; see experiments."""

    share: float = Field(
        default=0.2, gt=0, lt=1, description="Share of the traffic that it answers in the A/B test."
    )
    shadow: ShadowConfig = Field(default=ShadowConfig(), description="When the shadow begins to answer.")
    promote: PromoteConfig = Field(
        default=PromoteConfig(rule="non_inferior", margin=0.03, min_rows=200),
        description="When it becomes the champion.",
    )
    roll_back: RollBackConfig = Field(default=RollBackConfig(), description="When it is given up.")
    guards: tuple[GuardConfig, ...] | None = Field(
        default=None, max_length=16, description="Guard rails; null: those of every experiment."
    )
    confirm_moves: bool = Field(
        default=True,
        description="Whether what moves by feedback must be shown without the users' labels of any one key too.",
    )
    max_shadow_hours: float = Field(
        default=168.0, gt=0, description="Hours after which a shadow that saw too few rows is stopped."
    )
    max_hours: float | None = Field(
        default=720.0, gt=0, description="Hours after which an A/B test without winner is stopped."
    )


class TaskConfig(Settings):
    """Retraining of one task."""

    experiment: str = Field(
        min_length=1,
        description="Configuration of `demur run`: the original training data, and what is trained on it.",
    )
    golden: str = Field(
        min_length=1, description="The frozen golden set, a file of labelled records that is never trained on."
    )
    golden_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="Hash that freezes it, as `sha256sum` gives it; required."
    )
    files: tuple[LabelFile, ...] = Field(default=(), description="Further labelled rows with their texts.")
    labels: LabelsConfig = Field(default=LabelsConfig(), description="Which labels are believed.")
    gather: GatherConfig = Field(default=GatherConfig(), description="Which rows are gathered.")
    compare: CompareConfig = Field(default=CompareConfig(), description="When a challenger is refused.")
    rollout: RolloutConfig = Field(default=RolloutConfig(), description="How it is tried on live requests.")
    every_days: float | None = Field(
        default=None, gt=0, description="Days after which it is retrained without a cause; null: never."
    )
    cool_down_hours: float = Field(
        default=6.0, ge=0, description="Hours after the end of one retraining before the next begins."
    )
    max_per_day: int = Field(default=2, ge=1, le=100, description="Retrainings that may begin in any 24 hours.")


class RetrainConfig(Settings):
    """Training of challengers from what the guard has seen."""

    folder: str = Field(
        default="demur-retrain",
        min_length=1,
        description="Where challengers are trained and kept; hosts that serve them must see it under this path.",
    )
    tasks: dict[TaskName, TaskConfig] = Field(default={}, description="Task to how it is retrained; no other is.")
    nice: int = Field(default=10, ge=0, le=19, description="How far training stands back for what answers.")
    threads: int = Field(default=1, ge=1, le=256, description="Threads of training.")
    max_hours: float = Field(
        default=24.0, gt=0, description="Hours after which a step of training is killed, over all its attempts."
    )
    attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="How often a step that crashed or was killed with its controller is begun before it fails.",
    )
    keep_data: bool = Field(
        default=False, description="Whether the gathered texts stay on disk when a retraining has ended."
    )
    every_s: float = Field(default=5.0, gt=0, le=3600, description="Seconds between two looks.")


def resolve_paths(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A section ``retrain`` of a file with the files it names looked for beside that file."""
    changed = dict(values)
    if isinstance(changed.get("tasks"), Mapping):
        changed["tasks"] = {name: _resolve_task(one, base) for name, one in changed["tasks"].items()}
    return changed


def _resolve_task(values: Any, base: Path) -> Any:
    if not isinstance(values, Mapping):
        return values
    changed = {
        key: _beside(value, base) if key in ("experiment", "golden") else value for key, value in values.items()
    }
    if isinstance(changed.get("files"), list):
        changed["files"] = [
            {key: _beside(value, base) if key == "path" else value for key, value in one.items()}
            if isinstance(one, Mapping)
            else one
            for one in changed["files"]
        ]
    return changed


def _beside(value: Any, base: Path) -> Any:
    found = base / value if isinstance(value, str) else None
    return str(found) if found is not None and found.exists() else value
