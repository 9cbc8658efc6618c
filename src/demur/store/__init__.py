"""What the guard records: tables on SQLite or PostgreSQL, and the spool on disk that rows wait in."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.store._keys import SCOPES as SCOPES
    from demur.store._keys import hash_key as hash_key
    from demur.store._keys import is_key as is_key
    from demur.store._keys import key_id as key_id
    from demur.store._keys import new_key as new_key
    from demur.store._open import DEFAULT_URL as DEFAULT_URL
    from demur.store._open import open_store as open_store
    from demur.store._overview import StepSummary as StepSummary
    from demur.store._overview import TrafficSummary as TrafficSummary
    from demur.store._records import PredictionFilter as PredictionFilter
    from demur.store._rows import AuditRow as AuditRow
    from demur.store._rows import DriftRunRow as DriftRunRow
    from demur.store._rows import ExperimentEvent as ExperimentEvent
    from demur.store._rows import ExperimentRow as ExperimentRow
    from demur.store._rows import ExperimentStage as ExperimentStage
    from demur.store._rows import FeedbackRow as FeedbackRow
    from demur.store._rows import FeedbackSource as FeedbackSource
    from demur.store._rows import InputSampleRow as InputSampleRow
    from demur.store._rows import KeyRow as KeyRow
    from demur.store._rows import LabelledRow as LabelledRow
    from demur.store._rows import Lease as Lease
    from demur.store._rows import ModelRow as ModelRow
    from demur.store._rows import ModelStage as ModelStage
    from demur.store._rows import PredictionRow as PredictionRow
    from demur.store._rows import ReferenceRow as ReferenceRow
    from demur.store._rows import RetrainRow as RetrainRow
    from demur.store._rows import TrafficRow as TrafficRow
    from demur.store._rows import new_id as new_id
    from demur.store._rows import utc_now as utc_now
    from demur.store._store import Store as Store
    from demur.store.spool._config import SpoolConfig as SpoolConfig
    from demur.store.spool._drain import DrainResult as DrainResult
    from demur.store.spool._drainer import Drainer as Drainer
    from demur.store.spool._quarantine import QuarantinedRow as QuarantinedRow
    from demur.store.spool._spool import Spool as Spool
    from demur.store.spool._spool import SpoolStats as SpoolStats
    from demur.store.spool._spool import delete_request as delete_request

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AuditRow": "_rows",
        "DEFAULT_URL": "_open",
        "DrainResult": "spool._drain",
        "Drainer": "spool._drainer",
        "DriftRunRow": "_rows",
        "ExperimentEvent": "_rows",
        "ExperimentRow": "_rows",
        "ExperimentStage": "_rows",
        "FeedbackRow": "_rows",
        "FeedbackSource": "_rows",
        "InputSampleRow": "_rows",
        "KeyRow": "_rows",
        "LabelledRow": "_rows",
        "Lease": "_rows",
        "ModelRow": "_rows",
        "ModelStage": "_rows",
        "PredictionFilter": "_records",
        "PredictionRow": "_rows",
        "QuarantinedRow": "spool._quarantine",
        "ReferenceRow": "_rows",
        "RetrainRow": "_rows",
        "SCOPES": "_keys",
        "Spool": "spool._spool",
        "SpoolConfig": "spool._config",
        "SpoolStats": "spool._spool",
        "StepSummary": "_overview",
        "Store": "_store",
        "TrafficRow": "_rows",
        "TrafficSummary": "_overview",
        "delete_request": "spool._spool",
        "hash_key": "_keys",
        "is_key": "_keys",
        "key_id": "_keys",
        "new_id": "_rows",
        "new_key": "_keys",
        "open_store": "_open",
        "utc_now": "_rows",
    },
)
