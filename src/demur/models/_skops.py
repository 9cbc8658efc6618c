"""Saving and loading scikit-learn objects through skops: parsed and audited, never unpickled."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from demur.errors import ArtifactError

_TRUSTED = {
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
}
"""What our models hold beyond the estimators, arrays and plain values that skops trusts by itself."""
_HEAVY = "sklearn.externals.array_api_compat.torch"
"""A module of scikit-learn that imports PyTorch, where that is installed."""


def save_skops(value: Any, path: Path) -> None:
    """Write a nest of scikit-learn objects, arrays and plain values."""
    _import_skops().dump(value, path)


def load_skops(path: Path) -> Any:
    """Read what :func:`save_skops` wrote.

    Raises
    ------
    ArtifactError
        The file is damaged, or holds a type that demur's models do not; nothing in it was run.
    """
    skops = _import_skops()
    try:
        unknown = set(skops.get_untrusted_types(file=path))
    except Exception as error:
        raise ArtifactError(
            f"{path} is not a readable skops file ({type(error).__name__}); train again"
        ) from error
    foreign = sorted(unknown - _TRUSTED)
    if foreign:
        raise ArtifactError(
            f"{path} holds types demur does not trust ({', '.join(foreign)}); nothing was loaded, train again"
        )
    return skops.load(path, trusted=sorted(unknown))


def _import_skops() -> Any:
    """``skops.io``, without PyTorch.

    It imports every module of scikit-learn to list the estimators; one of them, which has none, would cost every
    process that loads a model some seconds and 200 MB. Whoever needs that module can import it afterwards.
    """
    if "skops.io" in sys.modules or _HEAVY in sys.modules:
        import skops.io

        return skops.io
    sys.modules[_HEAVY] = None  # type: ignore[assignment]  # importing it fails, which the walk passes over
    try:
        import skops.io
    finally:
        sys.modules.pop(_HEAVY, None)
    return skops.io
