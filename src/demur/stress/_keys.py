"""What a cell depends on, as hashes: the attack's work, the responses under it, and what they are judged to be.

Each is in the next. A changed judge costs no generation, a changed prompt no training, and nothing is done twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from demur.llm import GenerationConfig, hash_target
from demur.paths import hash_file, hash_value
from demur.stress._capability import hash_capability
from demur.stress._config import StressConfig
from demur.stress._data import StressRows
from demur.stress._jobs import Job
from demur.stress._protocol import Attack

_ROOT = Path(__file__).parents[1]
_WORK = (
    *("_tune*.py", "_protocol.py", "_meter.py", "_restore.py", "_answer.py", "_slot.py", "_search.py"),
    *("_states.py", "_requests.py", "_flops.py", "_coherence.py", "_samples.py", "_utility.py"),
)


@dataclass(frozen=True)
class CellKeys:
    """Hashes of one cell."""

    work: str
    """Of the attack: model, settings but for how far it goes, data, files it reads, seed, code."""
    replies: str
    """Of the responses: that, prompts, generation."""
    result: str
    """Of all figures: that, how far it goes, judges, bounds."""


def cell_keys(job: Job, config: StressConfig, rows: StressRows, judges: str) -> CellKeys:
    """The hashes of a cell.

    Parameters
    ----------
    job
        The cell.
    config
        Everything else that was asked for.
    rows
        Prompts and data.
    judges
        Hash of the judges.

    Raises
    ------
    ConfigError
        The model, an adapter, or a file that the attack reads is not there.
    """
    attack = job.make_attack()
    settings = {name: one for name, one in job.settings.items() if name not in attack.extent}
    # Nothing is drawn where the untouched model takes the likeliest token.
    seed = 0 if job.is_base and config.generation.temperature == 0 else job.seed
    target, base = (hash_target(job.model.target(one)) for one in (job.is_defended, False))
    # Searches for each prompt alone depend on what is judged.
    searched = rows.prompts_hash if settings.get("scope") == "each" else None
    given = [settings, rows.material_hash, searched, seed, config.generation.max_new_tokens if searched else None]
    work = hash_value([target, base, job.attack, given, attack.fingerprint, hash_attack(type(attack))])
    drawn = [config.distance.temperature] if config.distance.enabled else []
    shown = [rows.prompts_hash, rows.texts_hash, _plain(config.generation), config.coherence.perplexity]
    replies = hash_value([work, shown, drawn])
    rest = [config.coherence, config.distance, config.stop]
    capability = hash_capability(config.capability) if config.capability.tasks else None
    judging = [judges, [one.model_dump(mode="json") for one in rest], config.draws, config.level, capability]
    judging.append(_hash_encoder(config.distance.encoder) if config.distance.enabled else None)
    categories = [one.category for one in rows.prompts]
    told = [dict(job.settings), job.seed, job.model.title, categories, _hash_measuring()]
    return CellKeys(work[:20], replies[:20], hash_value([replies, judging, told])[:20])


@cache
def hash_attack(kind: type[Attack[Any]]) -> str:
    """SHA-256 of the sources by which an attack works, and the responses under it are written."""
    stress = _ROOT / "stress"
    own = Path(str(import_module(kind.__module__).__file__))
    shared = [path for pattern in _WORK for path in stress.glob(pattern)]
    found = [*shared, *(_ROOT / "llm").glob("*.py"), *own.parent.glob("*.py"), *own.parent.glob("*.yaml")]
    # A control trains the attack it is a control of.
    found += [path for base in kind.__mro__ for path in _sources_of(base)]
    if "demur.stress.lora" in own.read_text(encoding="utf-8"):
        found += (stress / "lora").glob("*.py")
    return _hash_sources(found)


@cache
def _hash_measuring() -> str:
    return _hash_sources([*(_ROOT / "stress").glob("*.py"), *(_ROOT / "metrics").glob("*.py")])


def _sources_of(kind: type) -> list[Path]:
    if not kind.__module__.startswith("demur."):
        return []
    return [Path(str(import_module(kind.__module__).__file__))]


def _hash_sources(paths: list[Path]) -> str:
    return hash_value(sorted([path.name, hash_file(path)] for path in set(paths)))


def _hash_encoder(name: str) -> str:
    from demur.models import hash_model, resolve_model

    return hash_model(resolve_model(name))


def _plain(generation: GenerationConfig) -> dict[str, Any]:
    # How many at a time has no say in what is written.
    return generation.model_dump(mode="json", exclude={"batch_size"})
