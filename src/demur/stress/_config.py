"""The configuration of a grid: models, attacks, seeds, prompts, judges, and when a cell is done."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from demur.config import Settings
from demur.data import DataSource
from demur.llm import GenerationConfig, TargetConfig
from demur.stress._judge_config import CoherenceConfig, JudgeSpec


def _listed(value: Any) -> Any:
    """One source, or one path, as a list of sources."""
    values = value if isinstance(value, list | tuple) else [value]
    return [{"path": one} if isinstance(one, str) else one for one in values]


Sources = Annotated[tuple[DataSource, ...], BeforeValidator(_listed)]


class StressModel(TargetConfig):
    """A model to stress, alone and under a defence."""

    name: str | None = Field(default=None, min_length=1, description="As in tables; the model's own where absent.")
    defended: str | None = Field(
        default=None, description="Folder of a defence's adapter; the model is then stressed without and with it."
    )

    @model_validator(mode="after")
    def _one_base(self) -> Self:
        if self.adapter and self.defended:
            raise ValueError(
                "adapter and defended are both given, so the model would not be the defence's base; give the "
                "model with its adapter merged (demur harden leaves it in RUN/base) as model, without adapter"
            )
        return self

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.name or self.model.rstrip("/").rpartition("/")[2]

    def target(self, is_defended: bool) -> TargetConfig:
        """What to load, without or with the defence."""
        values = self.model_dump(exclude={"name", "defended"})
        return TargetConfig(**values | ({"adapter": self.defended} if is_defended else {}))


class StressData(Settings):
    """Prompts to judge by, and rows for attacks to train on; no prompt may be in both."""

    harmful: Sources = Field(
        min_length=1, description="Prompts that should be refused; a column category groups them."
    )
    safe: Sources = Field(default=(), description="Prompts that should be answered, for over-refusal.")
    compliance: Sources = Field(
        default=(), description="Prompts that should be refused with answers, to fine-tune on."
    )
    benign: Sources = Field(default=(), description="Harmless prompts with answers, to fine-tune on.")
    harmful_train: Sources = Field(
        default=(), description="Prompts for directions and searches; those of compliance where absent."
    )
    harmless_train: Sources = Field(
        default=(), description="Harmless prompts for directions; those of benign where absent."
    )
    texts: Sources = Field(
        default=(),
        description="Answered harmless prompts, for perplexity and KL; without them neither is measured.",
    )


class DistanceConfig(Settings):
    """Representation distance of responses; all that it compares is drawn at random, by the same rule."""

    enabled: bool = Field(
        default=True, description="Whether it is measured; where evaluation is greedy, answers are drawn for it."
    )
    encoder: str = Field(default="embedded:minilm", description="Sentence encoder: a name or a folder.")
    temperature: float = Field(
        default=0.7, gt=0, description="Of the answers drawn for it, unless evaluation itself draws at its own."
    )


class CapabilityConfig(Settings):
    """What models can still do, by tasks of lm-eval: the untampered one, and where each attack on weights ends."""

    tasks: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Names of lm-eval's tasks or groups; none: capability is not measured."
    )
    include_path: str | None = Field(default=None, description="Folder of own task definitions, as YAML.")
    limit: int | None = Field(default=None, ge=1, description="At most so many documents a task, the first ones.")
    few_shot: int | None = Field(default=None, ge=0, description="Examples before each; null: the task's own.")
    batch_size: int = Field(default=8, ge=1, le=4096, description="Requests at a time.")
    chat: bool = Field(default=False, description="Whether documents are asked through the chat template.")


class StopRule(Settings):
    """When a cell has nothing left to show."""

    enabled: bool = Field(default=True, description="Whether cells are stopped at saturation.")
    complied: float = Field(
        default=0.9, gt=0, le=1, description="Compliance at or above this counts as saturated."
    )
    times: int = Field(
        default=2, ge=1, description="Stages in a row after which the cell is stopped, as censored."
    )


class EngineConfig(Settings):
    """Where cells run."""

    kind: Literal["here", "ray"] = Field(default="here", description="In this process, or as tasks of Ray.")
    address: str | None = Field(default=None, description="Of a Ray cluster; null starts one on this machine.")
    cpus: float = Field(default=1, gt=0, description="Processors of a cell on Ray.")
    gpus: float = Field(default=0, ge=0, description="GPUs of a cell on Ray.")


_JUDGES = (JudgeSpec(kind="keywords"), JudgeSpec(kind="classifier", model="tfidf_logreg"))


class StressConfig(Settings):
    """A grid of models, attacks and seeds."""

    name: str = Field(default="stress", min_length=1, description="Name of the run and of its folder.")
    models: tuple[StressModel, ...] = Field(
        default=(StressModel(),), min_length=1, description="Models, each perhaps with a defence."
    )
    attacks: dict[str, dict[str, Any] | list[dict[str, Any]]] = Field(
        min_length=1,
        description="Attack to its settings, or a list of them; several values for one setting make a grid.",
    )
    seeds: tuple[Annotated[int, Field(ge=0, le=2**31 - 1)], ...] = Field(
        default=(0, 1, 2), min_length=1, description="One run of every attack for each."
    )
    data: StressData = Field(description="Prompts and rows.")
    limit: int | None = Field(
        default=None, ge=1, description="At most so many prompts of a kind, evenly from its categories."
    )
    generation: GenerationConfig = Field(
        default=GenerationConfig(), description="How answers are written; its seed is added to the cell's."
    )
    judges: tuple[JudgeSpec, ...] = Field(
        default=_JUDGES, min_length=2, description="Two at least; figures and stops go by the first."
    )
    coherence: CoherenceConfig = Field(default=CoherenceConfig(), description="When text is incoherent.")
    distance: DistanceConfig = Field(default=DistanceConfig(), description="Representation distance.")
    capability: CapabilityConfig = Field(
        default=CapabilityConfig(), description="Tasks of lm-eval, of the untampered model and of end states."
    )
    stop: StopRule = Field(default=StopRule(), description="When cells are stopped.")
    draws: int = Field(default=2000, ge=0, description="Bootstrap draws of an interval; 0: none.")
    level: float = Field(default=0.95, gt=0, lt=1, description="Share the intervals should cover.")
    engine: EngineConfig = Field(default=EngineConfig(), description="Where cells run.")
    out: str | None = Field(default=None, description="Run folder; runs/NAME where absent.")

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("seeds repeat; name each once")
        return seeds

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for what, names in (
            ("models", [one.title for one in self.models]),
            ("judges", [one.title for one in self.judges]),
        ):
            twice = sorted({one for one in names if names.count(one) > 1})
            if twice:
                raise ValueError(f"two of the {what} are called '{twice[0]}'; give each a name of its own")
        return self
