"""Experiments: data, families, selection and artefacts in one run."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.experiment._config import ExperimentConfig as ExperimentConfig
    from demur.experiment._config import ModelSpec as ModelSpec
    from demur.experiment._load import explain_config as explain_config
    from demur.experiment._load import load_experiment as load_experiment
    from demur.experiment._reference import write_reference as write_reference
    from demur.experiment._run import ExperimentResult as ExperimentResult
    from demur.experiment._run import run_experiment as run_experiment

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ExperimentConfig": "_config",
        "ExperimentResult": "_run",
        "ModelSpec": "_config",
        "explain_config": "_load",
        "load_experiment": "_load",
        "run_experiment": "_run",
        "write_reference": "_reference",
    },
)
