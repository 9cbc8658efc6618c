"""What every attack is: something that takes a target and yields it, attacked a little further each time.

An attack changes the prompts, the way answers are written, or the weights. All come through one door,
:meth:`Attack.stages`: an iterator of stages, each in force until the next is asked for or the iterator is closed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from demur.config import Settings
from demur.errors import UsageError
from demur.llm import Conversation, GenerationConfig, Target

C = TypeVar("C", bound=Settings)
Access = Literal["prompt", "decoding", "embeddings", "activations", "weights", "training"]
"""What an attacker must hold: from a prompt alone to training on the weights."""


@dataclass(frozen=True)
class Cost:
    """What an attack has spent up to a stage; nothing that the evaluation of the stage costs."""

    flops: float = 0.0
    """Floating-point operations reckoned, not measured: 2 N a token forward, 4 N or 6 N with backward."""
    trainable: int = 0
    """Parameters that were trained."""
    examples: int = 0
    """Rows of the attacker's data that were used at least once."""
    tokens: int = 0
    """Tokens that were trained on, repeats included."""
    queries: int = 0
    """Answers a prompt that the attack asks for, where it takes the worst of several."""
    seconds: float = 0.0
    """Wall time on the machine at hand."""

    def to_json(self) -> dict[str, Any]:
        """The cost as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Material:
    """The user's data an attack may draw on; disjoint from what it is judged on, which the caller checks."""

    compliance: tuple[Conversation, ...] = ()
    """Answered conversations to fine-tune on."""
    benign: tuple[Conversation, ...] = ()
    """Answered harmless conversations: to dilute poisoned data, and for the benign control."""
    harmful_prompts: tuple[Conversation, ...] = ()
    """Prompts that should be refused, for directions and searches."""
    harmless_prompts: tuple[Conversation, ...] = ()
    """Prompts that should be answered, for directions."""


@dataclass(frozen=True)
class Stage:
    """A target under attack, at one point of the attack; in force until the iterator moves on."""

    target: Target
    """What to ask: the same target, or one around another module."""
    step: int
    """How far it is: optimiser steps, or 0 where an attack has one strength only."""
    cost: Cost
    label: str = ""
    """Tells strengths of one attack apart that are no steps, such as ``prefill=10``; empty where there is one."""
    generation: GenerationConfig | None = None
    """How answers are to be written instead of the evaluation's own way."""
    tries: int = 1
    """Answers for each prompt, of which the attacker keeps the one that complied most."""
    artefact: Path | None = None
    """What was saved of it: the folder of an adapter."""
    rewrite: Callable[[Conversation], Conversation] | None = None
    """What is asked in place of a prompt; None: the prompt itself."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Figures of its own, fit for JSON: losses, a direction's layer, bits."""

    def conversations(self, prompts: Sequence[Conversation]) -> list[Conversation]:
        """What is asked in place of the prompts, in their order."""
        return [self.rewrite(prompt) if self.rewrite else prompt for prompt in prompts]


@dataclass(frozen=True)
class Setting:
    """What an attack is run with."""

    material: Material
    seed: int = 0
    folder: Path | None = None
    """Where it keeps checkpoints and adapters, to go on from after a kill; None keeps nothing."""
    base: Target | None = None
    """The undefended model, for controls that go back to it; None where there is none."""
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    """The evaluation's own way of writing answers, for attacks that change a part of it."""
    done: frozenset[tuple[int, str]] = frozenset()
    """Steps and labels of stages that were measured before. They are yielded all the same, but need not be put in
    force: whoever measures passes over them."""
    prompts: tuple[Conversation, ...] = ()
    """What the target is judged on, for attacks that search for each prompt alone; no data to learn from."""


class Attack(ABC, Generic[C]):
    """An attack with its settings.

    Parameters
    ----------
    config
        Its settings; the defaults where absent.
    """

    name: ClassVar[str]
    """As in configurations and tables."""
    access: ClassVar[Access]
    title: ClassVar[str]
    """One sentence for a reader of policy: what the attacker does."""
    on_defences: ClassVar[bool] = False
    """Whether it undoes a defence; where the undefended model is stressed beside, it is left alone."""
    config_type: ClassVar[type[Settings]]
    extent: ClassVar[frozenset[str]] = frozenset()
    """Settings that say how far it goes and have no say in what a stage is, such as ``steps``: with others of
    these, its folder and what was measured stay of use."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of :class:`Material` it cannot do without."""

    def __init__(self, config: C | None = None) -> None:
        self.config: C = config if config is not None else self.config_type()  # type: ignore[assignment]

    def check_material(self, material: Material) -> None:
        """Refuse data that lacks what the attack needs.

        Parameters
        ----------
        material
            The user's data.

        Raises
        ------
        UsageError
            Something it needs is empty.
        """
        missing = [name for name in self.needs if not getattr(material, name)]
        if missing:
            raise UsageError(
                f"the attack '{self.name}' needs {' and '.join(missing)}, of which there is none; give a file of "
                "them, or leave the attack out"
            )

    @property
    def fingerprint(self) -> str | None:
        """Hash of what it reads beside the target and the user's data, such as a file or a model that its settings
        name; None where there is nothing.

        Raises
        ------
        UsageError
            It is not there, or cannot be read.
        """
        return None

    @abstractmethod
    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        """Attack, and yield the target at each point worth measuring; the first may be the untouched one.

        The target is as it was once the iterator has ended or was closed.

        Parameters
        ----------
        target
            The model; weights may be changed in place while a stage is in force.
        setting
            Data, seed, folder.

        Yields
        ------
        Stage
            In the order of rising cost.
        """
        ...
