"""Data sources as a configuration names them: read, filtered, capped, sampled, and joined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from demur.config import Settings
from demur.data._quarantine import Quarantine
from demur.data._records import PLACE, Records
from demur.data._shape import ReadOptions, join_records
from demur.data._starter import load_starter
from demur.data._text import normalise
from demur.errors import EmptyDataError, MissingColumnError
from demur.paths import hash_value
from demur.tasks import Task

STARTER = "starter"


class DataSource(Settings):
    """One file, folder, hub dataset, or part of the starter corpus, and what to take of it."""

    path: str = Field(
        description="A file (or folder, or hub dataset, as the format wants it); or `starter`, `starter:desk`, "
        "`starter:field`, `starter:blind` for the corpus in the package."
    )
    format: str = Field(default="records", description="Layout: a registered source, such as `xstest`.")
    columns: dict[str, str] = Field(default={}, description="Our column to theirs, such as `refusal: label`.")
    label_maps: dict[str, dict[str, str | None]] = Field(
        default={}, description="Task to their label to ours; null drops the label."
    )
    where: dict[str, list[str | int | float | bool | None]] = Field(
        default={}, description="Keep rows whose column (after mapping) has one of these values."
    )
    source: str | None = Field(default=None, description="Name of the source, instead of the rows' own.")
    own_groups: bool = Field(
        default=False,
        description="Group names are this file's own: the same name in another file is another group.",
    )
    cap_per_group: int | None = Field(
        default=None, ge=1, description="At most this many rows of a group (or of a prompt), drawn by seed."
    )
    limit: int | None = Field(default=None, ge=1, description="At most this many rows, drawn by seed.")


def load_sources(
    sources: Sequence[DataSource],
    tasks: Sequence[Task],
    quarantine_folder: Path | None = None,
    seed: int = 0,
    keep_places: bool = False,
) -> Records:
    """Read and join sources; ids are made unique, every row has a source.

    Parameters
    ----------
    quarantine_folder
        Takes one ``quarantine-<number>-<name>.jsonl`` for each source with rows that cannot be used; without
        it the first such row is an error.
    keep_places
        Leave each row's file and number in hidden columns for :func:`clean_records`, which takes them out.

    Raises
    ------
    DataError
        A source cannot be read (see :func:`read_records`) or no row of it is left.
    RegistryError
        No source plug-in has the format's name.
    """
    parts = [
        _load_one(source, tasks, (quarantine_folder, number), seed)
        for number, source in enumerate(sources, start=1)
    ]
    records = _unique_ids(join_records(parts, "the list of data sources"))
    return records if keep_places else Records(records.frame.drop(*PLACE, strict=False))


def _load_one(source: DataSource, tasks: Sequence[Task], place: tuple[Path | None, int], seed: int) -> Records:
    folder, number = place
    name = Path(source.path).name.split(".")[0].split("?")[0] or "data"
    quarantine = None
    if folder is not None:
        quarantine = Quarantine(folder / f"quarantine-{number}-{name.replace(':', '-')}.jsonl")
        quarantine.path.unlink(missing_ok=True)
    try:
        records = _read(source, ReadOptions(source.columns, {}, source.label_maps, tasks, quarantine, True))
    finally:
        if quarantine is not None:
            quarantine.close()
    records = _name_source(records, source.source, name)
    if source.own_groups:
        prefix = f"{name}-{hash_value(source.path)[:8]}:"
        records = records.with_column("group", prefix + records.frame.get_column("group"))
    for column, values in source.where.items():
        records = _filter(records, column, values, source.path)
    if not len(records):
        raise EmptyDataError(f"no row of {source.path} is left after 'where'; check its columns and values")
    generator = np.random.default_rng([seed, number])
    if source.cap_per_group is not None:
        records = cap_groups(records, source.cap_per_group, generator)
    if source.limit is not None and len(records) > source.limit:
        records = records.take(np.sort(generator.choice(len(records), source.limit, replace=False)))
    return records


def _read(source: DataSource, options: ReadOptions) -> Records:
    from demur.data.sources import SOURCES

    head, _, part = source.path.partition(":")
    if head == STARTER and not Path(source.path).exists():
        return load_starter(part or "all")
    return SOURCES.get(source.format)().read(Path(source.path), options)


def cap_groups(records: Records, most: int, generator: np.random.Generator) -> Records:
    """At most ``most`` rows of every group (of every prompt where there is no group), in their old order."""
    prompts = normalise(records.frame.get_column("prompt"))
    keys = pl.select(
        pl.coalesce(
            pl.concat_str(pl.lit("g"), records.frame.get_column("group")), pl.concat_str(pl.lit("p"), prompts)
        ).alias("key")
    ).with_columns(pl.Series("draw", generator.random(len(records))))
    rank = keys.select(pl.col("draw").rank("ordinal").over("key")).to_series().to_numpy()
    return records.take(np.flatnonzero(rank <= most))


def _filter(
    records: Records, column: str, values: Sequence[str | int | float | bool | None], path: str
) -> Records:
    if column not in records.frame.columns:
        raise MissingColumnError(column, records.frame.columns, path)
    cells = pl.col(column).cast(pl.String)
    wanted = [
        str(value).lower() if isinstance(value, bool) else str(value) for value in values if value is not None
    ]
    keep = cells.is_in(wanted).fill_null(value=False)
    return records.filter(keep | cells.is_null() if None in values else keep)


def _name_source(records: Records, override: str | None, fallback: str) -> Records:
    named = pl.lit(override) if override is not None else pl.col("source").fill_null(fallback)
    return Records(records.frame.with_columns(named.alias("source")))


def _unique_ids(records: Records) -> Records:
    """Put the source before ids that stand twice, and a number behind those that still do."""
    frame = records.frame
    if not frame["id"].is_duplicated().any():
        return records
    repeated = pl.col("id").is_duplicated()
    frame = frame.with_columns(
        pl.when(repeated).then(pl.concat_str("source", "id", separator=":")).otherwise(pl.col("id")).alias("id")
    )
    place = pl.int_range(pl.len()).over("id")
    suffix = pl.when(place > 0).then(pl.concat_str(pl.lit("#"), (place + 1).cast(pl.String))).otherwise(pl.lit(""))
    return Records(frame.with_columns(pl.concat_str(pl.col("id"), suffix).alias("id")))
