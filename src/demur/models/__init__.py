"""Classifiers: one protocol, one registry, a folder for each family."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.models._artifact import library_versions as library_versions
    from demur.models._artifact import read_manifest as read_manifest
    from demur.models._artifact import save_classifier as save_classifier
    from demur.models._base import CLASSIFIERS as CLASSIFIERS
    from demur.models._base import BaseClassifier as BaseClassifier
    from demur.models._base import Classifier as Classifier
    from demur.models._base import Predictions as Predictions
    from demur.models._calibrate import Calibration as Calibration
    from demur.models._calibrate import CalibrationConfig as CalibrationConfig
    from demur.models._calibrate import fit_calibration as fit_calibration
    from demur.models._check_ready import Thresholds as Thresholds
    from demur.models._check_ready import check_ready as check_ready
    from demur.models._conformal import Conformal as Conformal
    from demur.models._conformal import ConformalConfig as ConformalConfig
    from demur.models._conformal import fit_conformal as fit_conformal
    from demur.models._encoder import Encoder as Encoder
    from demur.models._encoder import WindowVectors as WindowVectors
    from demur.models._encoder import hash_model as hash_model
    from demur.models._encoder import resolve_model as resolve_model
    from demur.models._load import load as load
    from demur.models._memory import without_memory as without_memory
    from demur.models._onnx import OnnxClassifier as OnnxClassifier
    from demur.models._onnx import load_onnx as load_onnx
    from demur.models._onnx_export import OnnxReport as OnnxReport
    from demur.models._onnx_export import export_onnx as export_onnx
    from demur.models._operating import OperatingPoint as OperatingPoint
    from demur.models._operating import OperatingPoints as OperatingPoints
    from demur.models._operating import fit_operating_points as fit_operating_points
    from demur.models._presets import find_family as find_family
    from demur.models._presets import find_preset as find_preset
    from demur.models._presets import list_presets as list_presets
    from demur.models._ready import ReadyConfig as ReadyConfig
    from demur.models._ready import ReadyReport as ReadyReport
    from demur.models._ready import make_ready as make_ready
    from demur.models._saved import list_saved as list_saved
    from demur.models._score import ScoreOptions as ScoreOptions
    from demur.models._score import ScoreSummary as ScoreSummary
    from demur.models._score import score_file as score_file

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BaseClassifier": "_base",
        "CLASSIFIERS": "_base",
        "Calibration": "_calibrate",
        "CalibrationConfig": "_calibrate",
        "Classifier": "_base",
        "Conformal": "_conformal",
        "ConformalConfig": "_conformal",
        "Encoder": "_encoder",
        "OnnxClassifier": "_onnx",
        "OnnxReport": "_onnx_export",
        "OperatingPoint": "_operating",
        "OperatingPoints": "_operating",
        "Predictions": "_base",
        "ReadyConfig": "_ready",
        "ReadyReport": "_ready",
        "ScoreOptions": "_score",
        "ScoreSummary": "_score",
        "Thresholds": "_check_ready",
        "WindowVectors": "_encoder",
        "check_ready": "_check_ready",
        "export_onnx": "_onnx_export",
        "find_family": "_presets",
        "find_preset": "_presets",
        "fit_calibration": "_calibrate",
        "fit_conformal": "_conformal",
        "fit_operating_points": "_operating",
        "hash_model": "_encoder",
        "library_versions": "_artifact",
        "list_presets": "_presets",
        "list_saved": "_saved",
        "load": "_load",
        "load_onnx": "_onnx",
        "make_ready": "_ready",
        "read_manifest": "_artifact",
        "resolve_model": "_encoder",
        "save_classifier": "_artifact",
        "score_file": "_score",
        "without_memory": "_memory",
    },
)
