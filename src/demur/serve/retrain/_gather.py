"""The first step: labelled rows, cleaned, joined with the original data, and kept apart from what judges them."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from demur.errors import DataError, EmptyDataError
from demur.paths import hash_file
from demur.serve.retrain._collect import Collected, collect_files, collect_stored, refuse_without_texts
from demur.serve.retrain._golden import check_hash, find_leaks, near_rows, read_golden, refuse_leaks
from demur.serve.retrain._order import Order, read_experiment
from demur.serve.retrain._votes import USER, Decision, cap_share, decide_labels

if TYPE_CHECKING:
    from demur.data import Records
    from demur.experiment import ExperimentConfig
    from demur.tasks import Task

LABELLED_BY = "labelled_by"
_PARTS = ("golden", "base", "new", "extra")


def gather(order: Order) -> dict[str, Any]:
    """Gather what is trained on and what is compared on; what was found, as facts without texts.

    Raises
    ------
    DataError
        There is too little to learn from, no text was kept, or the golden set was changed.
    ConfigError
        The experiment or the golden set cannot be used.
    LeakError
        Rows of the golden set stand in the training rows.
    StoreUnavailableError
        The database does not answer.
    """
    from demur.data import write_records

    settings, files = order.settings, order.files
    config, task = read_experiment(settings, order.task)
    golden = read_golden(settings, task)
    base, extra = _load(config, task, "data", files.data), _load(config, task, "extra", files.data)
    assert base is not None
    found = collect(order, task)
    new, said = _believed(order, task, found, len(base))
    counts: Counter[str] = Counter()
    base, new = _join(base, _clean(new, config, task), task, counts)
    parts = _group({"golden": golden, "base": base, "new": new, "extra": extra}, config)
    parts = _drop_leaks(parts, task, config.group_similarity, counts)
    new_train, recent = _hold_out(parts, order, task, config.group_similarity, counts)
    count = len(new_train) + len(recent)
    if count < settings.gather.min_rows:
        raise DataError(
            f"only {count} new labelled rows can be used, and retraining needs {settings.gather.min_rows} "
            f"(gather.min_rows); {_why_few(found, said, counts)}"
        )
    train = type(base).concat([parts["base"], new_train])
    refuse_leaks(parts["golden"], train, task, config.group_similarity)
    files.data.mkdir(parents=True, exist_ok=True)
    written = {files.train: train, files.recent: recent, files.golden: parts["golden"]}
    if len(parts["extra"]):
        written[files.extra] = parts["extra"]
    for path, records in written.items():
        write_records(records, path)
    return {
        "labels": said | dict(found.counts),
        "left_out": dict(counts),
        "rows": {path.stem: len(records) for path, records in written.items()}
        | {"new_train": len(new_train), "base": len(parts["base"])},
        "classes": {path.stem: _classes(records, task) for path, records in written.items()},
        "golden_sha256": check_hash(settings),
        "hashes": {path.name: hash_file(path) for path in written},
    }


def collect(order: Order, task: Task) -> Collected:
    """Labelled rows of the store's last days and of files.

    Raises
    ------
    DataError
        There are none with texts.
    StoreUnavailableError
        The database does not answer.
    """
    from demur.store import open_store

    since = order.at - timedelta(days=order.settings.gather.window_days)
    with open_store(order.database) as store:
        found = collect_stored(store.labelled(task.name, since, order.at), task)
    collect_files(found, order.settings.files, task, order.at)
    refuse_without_texts(found)
    return found


def _believed(order: Order, task: Task, found: Collected, base: int) -> tuple[Records, dict[str, Any]]:
    """The rows whose label is believed, as many of each contributor as may be."""
    from demur.data import text_keys

    settings = order.settings.labels
    records = found.records()
    keys = text_keys(records, task.fields).to_list()
    votes = [replace(vote, text=keys[vote.row]) for vote in found.votes]
    decided = decide_labels(votes, settings, task.scoring.critical)
    kept, capped = cap_contributors(decided.decisions, base, settings.max_key_share, settings.max_subject_share)
    if not kept:
        raise DataError(
            f"no label of {len(votes)} can be believed ({decided.facts['contested']} texts contested, "
            f"{decided.facts['unconfirmed']} flips unconfirmed, {sum(capped.values())} over the share "
            "of one contributor); see retrain.tasks.TASK.labels"
        )
    rows = records.take([one.row for one in kept])
    rows = rows.with_column(task.name, [one.label for one in kept])
    rows = rows.with_column(LABELLED_BY, [one.source for one in kept])
    rows = rows.with_column("source", [f"feedback-{one.source}" for one in kept])
    return rows, decided.facts | {"capped": capped}


def cap_contributors(
    decisions: tuple[Decision, ...], base: int, key_share: float, subject_share: float
) -> tuple[list[Decision], dict[str, int]]:
    """Decisions such that no key, and no subject, has more than its share of all training rows.

    Which of a contributor's rows stay is drawn by a hash of the text, not by whoever sends them.

    Parameters
    ----------
    decisions
        Only those of users are capped.
    base
        Rows of the original data.
    key_share, subject_share
        The shares.
    """
    kept, capped = list(decisions), {"key": 0, "subject": 0}
    for what, share in (("subject", subject_share), ("key", key_share)):
        owner = {
            place: (one.key, one.subject) if what == "subject" else one.key
            for place, one in enumerate(kept)
            if one.source == USER and (what == "key" or one.subject)
        }
        counts = Counter(str(one) for one in owner.values())
        cap = cap_share(counts, base + len(kept) - len(owner), share)
        taken: Counter[str] = Counter()
        stay = set(range(len(kept)))
        for place in sorted(owner, key=lambda one: _draw("cap", kept[one].text)):
            taken[str(owner[place])] += 1
            if taken[str(owner[place])] > cap:
                stay.remove(place)
                capped[what] += 1
        kept = [one for place, one in enumerate(kept) if place in stay]
    return kept, capped


def _draw(salt: str, text: str) -> float:
    """A number from 0 to 1 that belongs to a text."""
    return int.from_bytes(hashlib.sha256(f"{salt}\0{text}".encode()).digest()[:8], "big") / 2**64


def _load(config: ExperimentConfig, task: Task, part: str, folder: Any) -> Records | None:
    """A part of the experiment's own data, cleaned as the experiment cleans it."""
    from demur.data import load_sources

    sources = getattr(config, part)
    if not sources:
        return None
    records = load_sources(sources, [task], folder / part, config.seed)
    if part == "extra" and not _has_labels(records, task):
        return None
    return _clean(records.labelled(task), config, task)


def _has_labels(records: Records, task: Task) -> bool:
    column = records.frame.get_columns() if task.name in records.frame.columns else []
    return any(one.name == task.name and one.null_count() < len(one) for one in column)


def _clean(records: Records, config: ExperimentConfig, task: Task) -> Records:
    from demur.data import clean_records

    settings = config.clean.model_copy(update={"near_duplicates": config.clean.drop_near_duplicates})
    return clean_records(records, settings, [task])[0].labelled(task)


def _join(base: Records, new: Records, task: Task, counts: Counter[str]) -> tuple[Records, Records]:
    """New rows beside the original ones: where both speak of a text, people correct it and others do not."""
    import numpy as np

    from demur.data import text_keys

    keys = text_keys(base, task.fields).to_list()
    labels = dict(zip(keys, base.frame.get_column(task.name).to_list(), strict=True))
    stay, corrected = [], set()
    rows = zip(
        text_keys(new, task.fields).to_list(),
        new.frame.get_column(task.name).to_list(),
        new.frame.get_column(LABELLED_BY).to_list(),
        strict=True,
    )
    for place, (key, label, labelled_by) in enumerate(rows):
        known = labels.get(key)
        if known is None:
            stay.append(place)
        elif known == label:
            counts["known"] += 1
        elif labelled_by == "people":
            counts["corrects_data"] += 1
            stay.append(place)
            corrected.add(key)
        else:
            counts["contradicts_data"] += 1
    kept = np.array([place for place, key in enumerate(keys) if key not in corrected], dtype=np.int64)
    return base.take(kept), new.take(np.array(stay, dtype=np.int64))


def _group(parts: dict[str, Records | None], config: ExperimentConfig) -> dict[str, Records]:
    """Groups over all parts at once, so that a near duplicate is one wherever it stands."""
    import numpy as np

    from demur.data import Records, assign_groups

    given = {name: part for name, part in parts.items() if part is not None}
    joined = assign_groups(Records.concat(list(given.values())), config.group_similarity)
    found, start = {}, 0
    for name in _PARTS:
        size = len(given[name]) if name in given else 0
        found[name] = joined.take(np.arange(start, start + size))
        start += size
    return found


def _drop_leaks(
    parts: dict[str, Records], task: Task, threshold: float, counts: Counter[str]
) -> dict[str, Records]:
    """Without the rows, of whatever part, that stand in the golden set or nearly do."""
    import numpy as np

    kept = {"golden": parts["golden"]}
    for name in _PARTS[1:]:
        leaks = find_leaks(parts["golden"], parts[name], task, threshold)
        counts[f"near_golden_{name}"] = int(leaks.sum())
        kept[name] = parts[name].take(np.flatnonzero(~leaks))
    if not len(kept["base"]):
        raise EmptyDataError(
            "every row of the experiment's data stands in the golden set or nearly does; take the golden set out"
        )
    return kept


def _hold_out(
    parts: dict[str, Records], order: Order, task: Task, threshold: float, counts: Counter[str]
) -> tuple[Records, Records]:
    """New rows to train on, and those that are never trained on: of groups drawn by a hash, the same each time."""
    import numpy as np

    from demur.data import text_keys

    new = parts["new"]
    known = {*parts["base"].texts("group"), *parts["extra"].texts("group")}
    share, salt = order.settings.gather.holdout, str(order.settings.golden_sha256)
    is_held = np.array(
        [group not in known and _draw(salt, group) < share for group in new.texts("group")], dtype=np.bool_
    )
    train, held = new.take(np.flatnonzero(~is_held)), new.take(np.flatnonzero(is_held))
    seen = [*text_keys(parts["base"], task.fields), *text_keys(train, task.fields)]
    near = near_rows(
        text_keys(held, task.fields).to_list(), [*seen, *text_keys(parts["extra"], task.fields)], threshold
    )
    counts["near_train_recent"] = int(near.sum())
    return train, held.take(np.flatnonzero(~near))


def _why_few(found: Collected, said: dict[str, Any], counts: Counter[str]) -> str:
    told = {
        "without texts": found.counts["without_text"],
        "contested": said["contested"],
        "unconfirmed flips": said["unconfirmed"],
        "over a contributor's share": sum(said["capped"].values()),
        "known before": counts["known"],
        "against the original data": counts["contradicts_data"],
        "near the golden set": counts["near_golden_new"],
    }
    listed = ", ".join(f"{count} {name}" for name, count in told.items() if count)
    return f"left out were {listed}" if listed else "wait for more feedback, or lower it"


def _classes(records: Records, task: Task) -> dict[str, int]:
    counts = Counter(records.frame.get_column(task.name).to_list())
    return {label: counts[label] for label in task.labels}
