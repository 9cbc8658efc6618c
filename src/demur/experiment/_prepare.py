"""From configured sources to checked splits: what each task's models train and are tested on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl

from demur.data import (
    Quarantine,
    Records,
    Split,
    SplitConfig,
    assign_groups,
    check_leak,
    clean_records,
    cross_validate,
    leave_one_out,
    load_sources,
    split_records,
    text_keys,
)
from demur.errors import DataError, EmptyDataError, LeakError, translate_os_error
from demur.experiment._config import ExperimentConfig
from demur.experiment._folder import RunFolder
from demur.models import find_preset
from demur.paths import write_json
from demur.tasks import Task

PARTS = ("data", "blind", "extra")
"""What an experiment reads; of rows in two parts that belong together, the earlier part keeps its own."""
LEFT_OUT = "left out: "
"""How a warning of a task begins that could not be prepared; it stands with the first that could."""


@dataclass
class TaskData:
    """One task's labelled rows and how they are split; splits are positions into ``records``."""

    task: Task
    records: Records
    main: Split
    """Train, validation and test."""
    blind: Records | None
    base_groups: list[str] = field(default_factory=list)
    """Group of each row in the grouping that all tasks share; a task may join some of those."""
    cv: dict[int, list[Split]] = field(default_factory=dict)
    """Number of folds to the splits of cross-validation; families may differ in it."""
    protocols: dict[str, list[Split]] = field(default_factory=dict)
    """Further protocols, a split for each fit."""
    folds: list[dict[str, Any]] = field(default_factory=list)
    """A row for each split beside the main one: sizes, missing classes, whether it was left out and why."""
    warnings: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        """Rows, groups, classes, sources and answerers of each part."""
        parts = {"train": self.main.train, "valid": self.main.valid, "test": self.main.test}
        described: dict[str, Any] = {
            name: _describe(self.records.take(rows), self.task) for name, rows in parts.items() if rows is not None
        }
        described["blind"] = _describe(self.blind, self.task) if self.blind is not None else None
        return described | self.hashes

    @cached_property
    def hashes(self) -> dict[str, str | None]:
        """``hash`` of the records and ``blind_hash``; computed once, since every cell asks for them."""
        blind = self.blind.content_hash() if self.blind is not None else None
        return {"hash": self.records.content_hash(), "blind_hash": blind}


def prepare_tasks(config: ExperimentConfig, tasks: list[Task], folder: RunFolder) -> list[TaskData]:
    """Load, clean, group and split; every split is checked for leaks.

    Raises
    ------
    DataError
        The data cannot be used for any of the tasks.
    LeakError
        A split shares what it must not.
    StorageError
        The run folder cannot be made.
    """
    try:
        folder.data.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise translate_os_error(error, f"making the run folder {folder.root}") from error
    for old in folder.data.glob("*/quarantine*.jsonl"):
        old.unlink()
    parts = {part: _load_clean(config, tasks, folder, part) for part in PARTS if getattr(config, part)}
    parts, dropped = _group_together(parts, config)
    found, faults = [], []
    for task in tasks:
        try:
            data = _prepare_task(task, parts, config)
        except DataError as error:
            faults.append(f"task '{task.name}': {error}")
            continue
        data.warnings += [
            f"{rows} {part} rows share a group with {others} (a prompt, nearly the same prompt, or a group "
            "name; own_groups: true tells the names of two files apart) and were left out"
            for part, others, rows in dropped
        ]
        found.append(data)
    if not found:
        raise DataError("; ".join(faults))
    for fault in faults:
        found[0].warnings.append(LEFT_OUT + fault)
    return found


def _load_clean(config: ExperimentConfig, tasks: list[Task], folder: RunFolder, part: str) -> Records:
    records = load_sources(getattr(config, part), tasks, folder.data / part, config.seed, keep_places=True)
    # Groups are made later, over all parts at once; here near duplicates only matter if they are dropped.
    settings = config.clean.model_copy(update={"near_duplicates": config.clean.drop_near_duplicates})
    with Quarantine(folder.data / part / "quarantine-cleaning.jsonl") as quarantine:
        records, report = clean_records(records, settings, tasks, quarantine)
        rejected = quarantine.counts
    write_json(folder.data / f"report-{part}.json", {"cleaning": report.to_json(), "quarantined": rejected})
    if not len(records):
        raise EmptyDataError(
            f"no usable row is left in '{part}' after cleaning; see {folder.data}/report-{part}.json"
        )
    return records


def _group_together(
    parts: Mapping[str, Records], config: ExperimentConfig
) -> tuple[dict[str, Records], list[tuple[str, str, int]]]:
    """Groups over all parts at once; rows whose group is in an earlier part are dropped and counted."""
    joined = assign_groups(Records.concat(list(parts.values())), config.group_similarity)
    kept: dict[str, Records] = {}
    dropped, start = [], 0
    for part, records in parts.items():
        rows = joined.take(np.arange(start, start + len(records)))
        start += len(records)
        others = " or ".join("the data" if name == "data" else name for name in kept)
        known = {group for earlier in kept.values() for group in earlier.texts("group")}
        own = rows.filter(~pl.col("group").is_in(sorted(known)))
        if len(own) < len(rows):
            dropped.append((part, others, len(rows) - len(own)))
        if len(own):
            kept[part] = own
    return kept, dropped


def _prepare_task(task: Task, parts: Mapping[str, Records], config: ExperimentConfig) -> TaskData:
    rows = parts["data"].labelled(task)
    judged = len(rows)
    blind = _other_rows(task, parts.get("blind"))
    extra = _other_rows(task, parts.get("extra"), rows, blind)
    rows = rows if extra is None else Records.concat([rows, extra])
    shared = rows.texts("group")
    if "prompt" not in task.fields:  # the same answer to other prompts is the same text to this task
        rows = assign_groups(rows, 1, fields=task.fields)
    splits = _Splits(rows, judged, task)
    main, _ = splits.extended(split_records(splits.judged, task, _seeded(config)))
    data = TaskData(task, rows, main, _other_rows(task, blind, rows), shared)
    known = len(blind or ()) - len(data.blind or ())
    if known:
        data.warnings.append(f"{known} blind rows have a text of the training data and were left out")
    if config.blind and data.blind is None:
        data.warnings.append("the blind set has no row of this task: f1_external is null")
    if config.extra and extra is None:
        data.warnings.append("no extra row is of this task")
    for folds in _fold_counts(config, task):
        _add_cv(data, folds, splits, config.seed)
    for by in config.validation.leave_one_out:
        _add_leave_one_out(data, by, splits, config)
    return data


class _Splits:
    """Splits of a task's rows, the last of which are extra: never judged, in the training rows of every split."""

    def __init__(self, rows: Records, judged: int, task: Task) -> None:
        self.rows, self.task = rows, task
        self.judged = rows.take(np.arange(judged))
        groups = rows.frame.get_column("group")
        known = self.judged.texts("group")  # of a task that reads answers alone, an extra one may be among them
        self.extra = np.flatnonzero(~groups.is_in(known).to_numpy())

    def extended(
        self, split: Split, by: Literal["model", "source"] | None = None, strict: bool = False
    ) -> tuple[Split, int]:
        """The split with the extra rows that may train beside its test rows, checked for leaks.

        With it the number of test rows that have a prompt in the training rows, which a held-out value allows.
        """
        extra = self.extra
        if by is not None:
            extra = extra[self.rows.column(by)[extra] != split.fold]
        found = replace(split, train=np.concatenate([split.train, extra]))
        report = check_leak(self.rows, found, by=by, task=self.task, strict_groups=strict)
        return found, report.shared_group_rows


def _seeded(config: ExperimentConfig) -> SplitConfig:
    seed = config.seed if config.split.seed is None else config.split.seed
    return config.split.model_copy(update={"seed": seed})


def _fold_counts(config: ExperimentConfig, task: Task) -> list[int]:
    """The numbers of folds that the task's models ask for."""
    specs = [spec for spec in config.models if not spec.tasks or task.name in spec.tasks]
    wanted = {
        config.validation.folds_for(spec.family or find_preset(str(spec.preset))[0].family)
        for spec in specs
        if not spec.protocols or "cv" in spec.protocols
    }
    return sorted(wanted - {0})


def _add_cv(data: TaskData, folds: int, splits: _Splits, seed: int) -> None:
    kept = []
    for split in cross_validate(splits.judged, data.task, folds, seed):
        extended, _ = splits.extended(split)
        if _note_fold(data, extended, "cv", folds):
            kept.append(extended)
    if kept:
        data.cv[folds] = kept


def _note_fold(data: TaskData, split: Split, protocol: str, folds: int | None = None) -> bool:
    """Write a split's row; False, with a warning, where nothing can be learned from its training rows."""
    targets, labels = data.records.targets(data.task), data.task.labels
    missing = {
        part: [label for number, label in enumerate(labels) if number not in present]
        for part, present in (("train", set(targets[split.train])), ("test", set(targets[split.test])))
    }
    reason, status = None, "ok"
    if len(missing["train"]) > len(labels) - 2:
        status, reason = "skipped", "the training rows have one class only"
        what = "was not held out, the rest has" if folds is None else "was left out, its training rows have"
        data.warnings.append(f"{protocol}: '{split.fold}' {what} one class only")
    elif unseen := [label for label in missing["train"] if label not in missing["test"]]:
        reason = f"no training row has the label {' or '.join(unseen)}: those rows cannot be got right"
        data.warnings.append(f"{protocol}: '{split.fold}': {reason}")
    elif missing["test"]:
        reason = f"no row to judge has the label {' or '.join(missing['test'])}: the score leaves its terms out"
    data.folds.append(
        {"protocol": protocol, "model_folds": folds, "fold": split.fold}
        | {"n_train": len(split.train), "n_test": len(split.test)}
        | {"missing_train": missing["train"], "missing_test": missing["test"]}
        | {"status": status, "reason": reason}
    )
    return status == "ok"


def _add_leave_one_out(
    data: TaskData, by: Literal["model", "source"], splits: _Splits, config: ExperimentConfig
) -> None:
    strict = config.validation.strict_groups
    name = f"leave_one_{by}_out"
    if splits.judged.frame.get_column(by).n_unique() < 2:
        data.warnings.append(f"{name} was left out: the rows have fewer than two values of '{by}'")
        return
    found = leave_one_out(splits.judged, data.task, by, strict_groups=strict, min_rows=config.validation.min_rows)
    kept, shared = [], 0
    for split in found:
        try:
            extended, shared_rows = splits.extended(split, by, strict)
        except LeakError as error:
            raise LeakError(f"task '{data.task.name}': {error}") from error
        if not _note_fold(data, extended, name):
            continue
        shared += shared_rows
        kept.append(extended)
    if shared:
        data.warnings.append(
            f"{name}: {shared} of {sum(len(split.test) for split in kept)} held-out rows have a prompt that is "
            f"trained on too (with the answer of another {by}); strict_groups: true keeps those apart"
        )
    if kept:
        data.protocols[name] = kept


def _other_rows(task: Task, records: Records | None, *known: Records | None) -> Records | None:
    """Rows of another part with a label, less those whose text, as the task reads it, is among the known ones."""
    if records is None or task.name not in records.frame.columns:
        return None
    rows = records.filter(pl.col(task.name).is_not_null())
    for others in known:
        if others is not None and len(rows):
            seen = text_keys(others, task.fields).unique().to_list()
            rows = rows.take(np.flatnonzero(~text_keys(rows, task.fields).is_in(seen).to_numpy()))
    return rows if len(rows) else None


def _describe(records: Records, task: Task) -> dict[str, Any]:
    def counts(name: str) -> dict[str, int]:
        found = Counter(value for value in records.frame.get_column(name).to_list() if value is not None)
        return dict(sorted(found.items()))

    classes = counts(task.name)
    return {
        "n": len(records),
        "groups": int(records.frame.get_column("group").n_unique()),
        "classes": {label: classes.get(label, 0) for label in task.labels},
        "sources": counts("source"),
        "answerers": counts("model"),
    }
