"""A search by Optuna: TPE draws the values, a pruner ends poor trials, and a SQLite file keeps what is done.

The study itself lives in memory; only finished trials are written. A killed search therefore finds nothing
half-done, and since every draw has a seed of its own, made of the search's seed and the number of trials
before it, it goes on as if it had not been killed.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import StorageError, require
from demur.experiment._search_config import Dimension, SearchConfig
from demur.experiment._search_space import Space, current_params, params_key
from demur.experiment._search_trial import Problem, Trial, TrialPruned, run_trial

if TYPE_CHECKING:
    import optuna

Tell = Callable[[str, float], None]
_STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
_KEPT = {"median": 50.0, "third": 100 / 3}
"""Percent of the complete trials that a trial must be among at each point."""
_FIRST_WHOLE = 4
"""Trials that are complete before any is measured by them."""
_PATIENCE_S = 60.0
"""How long to wait for another process that writes the file."""
_TOLD = ("params", "state", "scores", "fits", "epochs", "seconds", "reason")


@dataclass(frozen=True)
class Journal:
    """Where finished trials are kept: a SQLite file, and the name of the study in it."""

    path: Path
    name: str


def run_study(
    problem: Problem, space: Space, search: SearchConfig, seed: int, journal: Journal, tell: Tell
) -> list[Trial]:
    """Try settings until ``search.trials`` are done, those of an earlier, killed call among them.

    The first trial takes the settings as they are, where they lie in the space: so a search tells what it gained.

    Raises
    ------
    MissingDependencyError
        Optuna is not installed.
    StorageError
        The disk is full or not writable.
    """
    optuna = require("optuna", extra="tune")
    with _quiet(optuna), _open(optuna, journal) as kept:
        study = optuna.create_study(direction="maximize", pruner=_new_pruner(optuna, search))
        for frozen in kept.get_trials(deepcopy=False):
            study.add_trial(frozen)
        done = [_read_trial(frozen) for frozen in study.trials]
        while len(done) < search.trials and not _is_out_of_time(done, search):
            tell(_words(done, search), len(done) / search.trials)
            number = len(done)
            study.sampler = optuna.samplers.TPESampler(
                seed=_derive_seed(seed, number), n_startup_trials=_startup(search)
            )
            if number == 0 and (first := current_params(problem.settings, space)) is not None:
                study.enqueue_trial({name: _encode(value, space[name]) for name, value in first.items()})
            done.append(_run_one(optuna, study, problem, space, done))
            kept.add_trial(study.trials[-1])
    return done


def _run_one(optuna: Any, study: optuna.Study, problem: Problem, space: Space, done: list[Trial]) -> Trial:
    asked = study.ask()
    params = {name: _suggest(asked, name, dimension) for name, dimension in sorted(space.items())}

    def report(value: float, step: int) -> None:
        asked.report(value, step)
        if asked.should_prune():
            raise TrialPruned

    same = next((at for at, trial in enumerate(done) if params_key(trial.params) == params_key(params)), None)
    if same is None:
        trial = run_trial(problem, params, report)
    else:  # fitting the same again would give the same
        before = done[same]
        trial = Trial(params, before.state, before.scores, 0, 0.0, 0.0, before.reason)
        for step, value in study.trials[same].intermediate_values.items():
            asked.report(value, step)
    for name in _TOLD:
        asked.set_user_attr(name, getattr(trial, name))
    state = getattr(optuna.trial.TrialState, _STATES[trial.state])
    study.tell(asked, trial.score if trial.state == "complete" else None, state=state)
    return trial


def _suggest(asked: Any, name: str, dimension: Dimension) -> Any:
    if dimension.choices:
        drawn = asked.suggest_categorical(name, [_encode(choice, dimension) for choice in dimension.choices])
        return next(choice for choice in dimension.choices if _encode(choice, dimension) == drawn)
    if dimension.int:
        assert dimension.low is not None
        assert dimension.high is not None
        return asked.suggest_int(name, int(dimension.low), int(dimension.high), log=dimension.log)
    return asked.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _encode(value: Any, dimension: Dimension) -> Any:
    """A choice as Optuna stores it: the text of it, since True and 1 are the same to it and lists unknown."""
    return json.dumps(value) if dimension.choices else value


def _new_pruner(optuna: Any, search: SearchConfig) -> Any:
    if search.pruner in _KEPT:
        return optuna.pruners.PercentilePruner(_KEPT[search.pruner], n_startup_trials=_FIRST_WHOLE)
    if search.pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)
    return optuna.pruners.NopPruner()


def _startup(search: SearchConfig) -> int:
    """Trials drawn at random before TPE has seen enough."""
    return min(10, max(4, search.trials // 4))


def _derive_seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big") >> 1


def _is_out_of_time(done: list[Trial], search: SearchConfig) -> bool:
    spent = sum(trial.seconds for trial in done)
    return search.timeout_s is not None and spent >= search.timeout_s


def _words(done: list[Trial], search: SearchConfig) -> str:
    scores = [trial.score for trial in done if trial.state == "complete" and trial.score is not None]
    best = f", best {max(scores):.3f}" if scores else ""
    return f"search: trial {len(done) + 1} of {search.trials}{best}"


def _read_trial(frozen: Any) -> Trial:
    return Trial(**{name: frozen.user_attrs[name] for name in _TOLD})


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna tells of every study on stderr; whoever set its level gets that level back."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _open(optuna: Any, journal: Journal) -> Iterator[Any]:
    """The kept study of finished trials; a file that is damaged is made again."""
    try:
        journal.path.parent.mkdir(parents=True, exist_ok=True)
        storage, study = _attach(optuna, journal)
    except Exception as error:
        if not _is_damaged(error):
            words = " ".join(str(error).split())[:300]
            raise StorageError(
                f"the search could not open {journal.path} ({words}); check its permissions and the space left, "
                "or delete it to search anew"
            ) from error
        journal.path.unlink()
        storage, study = _attach(optuna, journal)
    try:
        yield study
    except optuna.exceptions.StorageInternalError as error:
        raise StorageError(f"the search could not write {journal.path} ({error}); free some space") from error
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _attach(optuna: Any, journal: Journal) -> tuple[Any, optuna.Study]:
    """The storage and the study in it, all of whose trials can be read."""
    pool = require("sqlalchemy.pool", extra="tune")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(journal.path, timeout=_PATIENCE_S)

    # The path is no part of the URL, in which ?, #, % and braces mean something else.
    options = {"creator": connect, "poolclass": pool.QueuePool}
    storage = optuna.storages.RDBStorage("sqlite://", engine_kwargs=options)
    study = optuna.create_study(
        study_name=journal.name, storage=storage, direction="maximize", load_if_exists=True
    )
    study.get_trials(deepcopy=False)
    return storage, study


def _is_damaged(error: BaseException | None) -> bool:
    """Whether SQLite says, somewhere in the chain of errors, that the file is none of its own or malformed."""
    while error is not None:
        code = getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)
        if code is not None:
            return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        error = error.__cause__ or error.__context__
    return False
