"""The parts of a worker, made from its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from demur.serve._identity import Identity
from demur.serve._known_keys import KnownKeys
from demur.serve._place import Place

if TYPE_CHECKING:
    from demur.serve.api import Parts
    from demur.serve.pool import ServedModel
    from demur.store import ModelRow


def make_parts(place: Place) -> Parts:
    """Everything a worker's application is made of; no model is loaded yet.

    Raises
    ------
    UsageError
        The secret of the server is too short, or the address of the database is none.
    """
    from demur.serve.api import Gate, Keyring, Metrics, Parts, Recorder, SharedBuckets
    from demur.serve.pool import LoadOptions, Pool, load_model
    from demur.store import open_store

    config, metrics = place.config, Metrics()
    store, spool = open_store(str(config.database.url.fill(str))), config.spool.open()
    options = LoadOptions(
        runtime=config.runtime,
        threads=config.judging_threads,
        batching=config.batching,
        languages=config.text.language,
        observe=metrics.batch,
    )

    def load(row: ModelRow) -> ServedModel:
        return load_model(Path(row.folder), row.name, options)

    keyring = Keyring(KnownKeys(store.keys, place.folder / "keys.json").read, config.keys)
    return Parts(
        config=config,
        pool=Pool(load, config.drain_s),
        store=store,
        spool=spool,
        recorder=Recorder(spool, config.records, metrics),
        gate=Gate(keyring, is_required=config.keys.required, are_metrics_public=config.metrics.public),
        buckets=SharedBuckets(place.folder / "rates"),
        identity=Identity([one.encode() for one in place.signing]),
        metrics=metrics,
    )
