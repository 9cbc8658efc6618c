"""How far a search has come, kept in a folder: it goes on after a kill, and any stage can be taken up again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from demur.errors import translate_os_error
from demur.paths import replace_when_done
from demur.stress._protocol import Cost

Arrays = dict[str, np.ndarray[Any, Any]]
_SPENT = ("flops", "tokens", "seconds")
_NAME = re.compile(r"step_(\d+)\.npz")


def write_cost(cost: Cost) -> Arrays:
    """What was spent, as arrays beside the others."""
    return {name: np.array(getattr(cost, name)) for name in _SPENT}


def read_cost(arrays: Arrays) -> Cost:
    """What was spent up to some arrays."""
    return Cost(**{name: arrays[name].item() for name in _SPENT})


class States:
    """Arrays by step.

    Parameters
    ----------
    folder
        Where they are; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._passing: Path | None = None

    def save(self, step: int, arrays: Mapping[str, Any], *, is_stage: bool) -> None:
        """Keep arrays; those between stages only until the next ones.

        Parameters
        ----------
        step
            How far they are.
        arrays
            By name.
        is_stage
            Whether they are asked for again.

        Raises
        ------
        StorageError
            The disk is full or not writable.
        """
        if self.folder is None:
            return
        path = self.folder / f"step_{step:06d}.npz"
        try:
            with replace_when_done(path) as part, part.open("wb") as handle:
                np.savez(handle, **arrays)
            if self._passing is not None and self._passing != path:
                self._passing.unlink(missing_ok=True)
        except OSError as error:
            raise translate_os_error(error, f"saving step {step} of a search") from error
        self._passing = None if is_stage else path

    def load(self, step: int) -> tuple[int, Arrays] | None:
        """The latest arrays up to a step, with their step; None where there are none.

        Parameters
        ----------
        step
            The last that is of use.
        """
        if self.folder is None or not self.folder.is_dir():
            return None
        known = {int(found[1]): path for path in self.folder.iterdir() if (found := _NAME.fullmatch(path.name))}
        for number in sorted((one for one in known if one <= step), reverse=True):
            try:
                with known[number].open("rb") as handle, np.load(handle, allow_pickle=False) as kept:
                    return number, {name: kept[name] for name in kept.files}
            except (OSError, ValueError, KeyError, EOFError, BadZipFile):
                continue
        return None
