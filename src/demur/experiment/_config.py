"""The configuration of one experiment: data, tasks, models, validation, selection."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from demur.config import Settings
from demur.data import CleanConfig, DataSource, SplitConfig
from demur.experiment._search_config import SearchConfig
from demur.models import ReadyConfig

Protocol = Literal["valid", "test", "blind", "cv", "leave_one_model_out", "leave_one_source_out"]
DEFAULT_MODELS = (
    "rules",
    "tfidf_logreg",
    "tfidf_svm",
    "tfidf_nb",
    "tfidf_forest",
    "tfidf_xgboost",
    "tfidf_lexical",
    "minilm_logreg",
    "minilm_hybrid",
    "minilm_finetuned",
)


class ModelSpec(Settings):
    """One model of an experiment: a preset or a family, with settings over its own."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Its name in every table.")
    preset: str | None = Field(default=None, description="A named model to start from (demur models list).")
    family: str | None = Field(default=None, description="A family, where there is no preset.")
    tasks: tuple[str, ...] = Field(default=(), description="Only for these tasks; empty: all.")
    protocols: tuple[Protocol, ...] = Field(
        default=(), description="Only these protocols beside valid, test and blind; empty: all that are on."
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="The family's settings.")
    search: SearchConfig | None = Field(
        default=None, description="Search for the best settings on the training rows; {} searches by default."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value, "preset": value}
        if isinstance(value, dict) and "name" not in value:
            name = value.get("preset") or value.get("family")
            return value | {"name": name} if name else value
        return value

    @model_validator(mode="after")
    def _check(self) -> ModelSpec:
        if (self.preset is None) == (self.family is None):
            raise ValueError(f"model '{self.name}' needs either preset: or family:")
        return self


FOLDS, FOLDS_OF_NETS = 4, 3
"""Folds of ``cv: auto``; fewer for the families whose fits take long."""
MOST_FOLDS = 50
NETS = ("neural", "transformer", "dual")


class ValidationConfig(Settings):
    """How models are tested beside the held-out test split."""

    cv: int | Literal["auto"] = Field(
        default=0,
        description="Folds of grouped cross-validation; 0: none; auto: 4, and 3 for neural, transformer and dual.",
    )
    leave_one_out: tuple[Literal["model", "source"], ...] = Field(
        default=("model", "source"), description="Hold out each answering model, each source, in turn."
    )
    strict_groups: bool = Field(
        default=False, description="Held-out models' prompts may not be trained on either (crossed folds)."
    )
    min_rows: int = Field(default=20, ge=2, description="A value with fewer rows is not held out.")

    @field_validator("cv", mode="before")
    @classmethod
    def _check_cv(cls, value: Any) -> Any:
        if value != "auto" and (type(value) is not int or value == 1 or not 0 <= value <= MOST_FOLDS):
            raise ValueError(f"give a number of folds from 2 to {MOST_FOLDS}, 0 for none, or auto")
        return value

    def folds_for(self, family: str) -> int:
        """Folds of cross-validation for a family; 0 where there is none."""
        if self.cv == "auto":
            return FOLDS_OF_NETS if family in NETS else FOLDS
        return self.cv


class Bound(Settings):
    """A threshold on one figure."""

    min: float | None = Field(default=None, description="Smallest value allowed.")
    max: float | None = Field(default=None, description="Largest value allowed.")


class SelectConfig(Settings):
    """How the winner of a task is chosen."""

    metric: str = Field(default="custom_score", description="The figure that decides; see demur.metrics.")
    on: Literal["auto", "valid", "cv"] = Field(
        default="auto",
        description="The rows it is chosen on, never the test rows; auto: cv if on, and no settings were searched "
        "once (search.nested: false), else valid.",
    )
    thresholds: dict[str, Bound] = Field(
        default_factory=dict,
        description="Bounds on figures (recall_c2, false_alarm_rate, latency_ms_p95, peak_memory_mb, ...).",
    )


class MlflowConfig(Settings):
    """Where MLflow keeps a copy of every finished run."""

    uri: str | None = Field(
        default=None,
        description="Server or store, such as sqlite:///runs/mlflow.db; null: the variable MLFLOW_TRACKING_URI.",
    )
    experiment: str = Field(default="demur", min_length=1, description="The experiment that runs are put into.")
    artifacts: str | None = Field(
        default=None,
        description="Where a new experiment keeps files; null: beside a local store, else its choice.",
    )
    models: bool = Field(default=True, description="Also copy the saved models.")


class TrackingConfig(Settings):
    """Where finished runs are also told of; the run folder stays the truth."""

    mlflow: MlflowConfig | None = Field(default=None, description="MLflow; null: none, {} takes the defaults.")


class ExperimentConfig(Settings):
    """One experiment. The defaults run on the starter corpus and need no file."""

    name: str = Field(default="starter", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Its name.")
    out: str | None = Field(default=None, description="The run folder; default runs/<name>.")
    seed: int = Field(default=7, ge=0, le=2**31 - 1, description="Seed of everything random.")
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(
        default=(),
        description="Fit each seeded model with each of these on the same main split, which `seed` draws; the "
        "saved model and the folds are of the first. Empty: `seed` alone.",
    )
    tasks: tuple[str | dict[str, Any], ...] = Field(
        default=("refusal", "jailbreak", "prompt_risk"),
        min_length=1,
        description="Built-in names, task files, or tasks written out.",
    )
    data: tuple[DataSource, ...] = Field(
        default=(DataSource(path="starter:desk"), DataSource(path="starter:field")),
        min_length=1,
        description="What to train and test on.",
    )
    blind: tuple[DataSource, ...] = Field(
        default=(DataSource(path="starter:blind"),), description="Another source, never trained or tuned on."
    )
    extra: tuple[DataSource, ...] = Field(
        default=(),
        description="More rows that every fit trains on and that are never judged, such as the starter corpus "
        "beside a narrow set; those that share a group with data or blind are left out.",
    )
    clean: CleanConfig = Field(default_factory=CleanConfig, description="Cleaning.")
    group_similarity: float = Field(
        default=0.85, gt=0, le=1, description="Prompts at least this alike (Jaccard) form one group."
    )
    split: SplitConfig = Field(default_factory=SplitConfig, description="Shares of the test and validation rows.")
    validation: ValidationConfig = Field(default_factory=ValidationConfig, description="Further protocols.")
    models: tuple[ModelSpec, ...] = Field(
        default=tuple(
            ModelSpec(
                name=name,
                preset=name,
                protocols=("test",) if name == "minilm_finetuned" else (),
            )
            for name in DEFAULT_MODELS
        ),
        min_length=1,
        description="Presets by name, or mappings.",
    )
    select: SelectConfig = Field(default_factory=SelectConfig, description="How the winner is chosen.")
    ready: ReadyConfig = Field(
        default_factory=ReadyConfig,
        description="What saved models are given on the validation rows: calibration, thresholds, abstention.",
    )
    draws: int = Field(default=1000, ge=0, le=100_000, description="Bootstrap draws of every interval.")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Level of every interval.")
    tracking: TrackingConfig = Field(default_factory=TrackingConfig, description="Copies of finished runs.")
    report: bool = Field(default=True, description="Draw figures and write report.html.")

    @model_validator(mode="after")
    def _check_rows_to_choose_on(self) -> ExperimentConfig:
        on, folds = self.select.on, self.validation.folds_for("")
        if on == "cv" and folds < 2:
            raise ValueError(
                "select.on: cv needs validation.cv of at least 2 folds; set it, or choose on valid rows"
            )
        if not self.split.valid and (on == "valid" or folds < 2):
            raise ValueError("there are no rows to choose a winner on; set split.valid above 0, or validation.cv")
        return self

    @property
    def first_seed(self) -> int:
        """The seed of the saved models and of every fold."""
        return self.seeds[0] if self.seeds else self.seed

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("seeds repeat; give each once")
        return seeds

    @field_validator("models")
    @classmethod
    def _check_names(cls, models: tuple[ModelSpec, ...]) -> tuple[ModelSpec, ...]:
        names = [model.name for model in models]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"model names repeat: {', '.join(repeated)}; give each its own name:")
        return models
