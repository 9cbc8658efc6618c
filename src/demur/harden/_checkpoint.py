"""What a breaker's checkpoint holds: adapters, what was measured before the first step, the optimiser's state.

All of it is whole, whichever process holds which part of it, so any number of processes can go on from it, whether
weights are split between them or not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from demur.errors import TrainingError
from demur.harden._sharded import gather, spread

WEIGHTS_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"


def changing_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Adapters, and what was measured before the first step, as a module holds them."""
    trained = {name: one for name, one in module.named_parameters() if one.requires_grad}
    return trained | dict(module.named_buffers(recurse=False))


def save_weights(module: nn.Module, path: Path, is_writer: bool = True) -> None:
    """Write what training changes.

    Parameters
    ----------
    module
        A breaker; where it is split all processes must call this.
    path
        A safetensors file.
    is_writer
        Whether this process writes it.
    """
    from safetensors.torch import save_file

    found = {name: gather(tensor).contiguous() for name, tensor in changing_tensors(module).items()}
    if is_writer:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy back what :func:`save_weights` wrote.

    Raises
    ------
    TrainingError
        The file is of another breaker; empty the checkpoint folder.
    """
    from safetensors.torch import load_file

    found, wanted = load_file(path), changing_tensors(module)
    differing = sorted(found.keys() ^ wanted.keys())
    if differing:
        raise TrainingError(
            f"the checkpoint {path.parent.name} holds other weights than the breaker trains "
            f"(first: '{differing[0]}'); delete its folder to start over"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(spread(found[name], tensor))


def save_optimizer(optimizer: Any, path: Path, is_writer: bool = True) -> None:
    """Write what an AdamW remembers of each parameter; its rates stand in the settings, and never change.

    Parameters
    ----------
    optimizer
        After its first step; where weights are split all processes must call this.
    path
        A safetensors file.
    is_writer
        Whether this process writes it.
    """
    from safetensors.torch import save_file

    states = sorted(optimizer.state_dict()["state"].items())
    found = {
        f"{number}.{name}": gather(one).contiguous() for number, state in states for name, one in state.items()
    }
    if is_writer:
        save_file(found, path)


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Take over what :func:`save_optimizer` wrote.

    Parameters
    ----------
    optimizer
        Of the same parameters in the same order, split or not.
    path
        The file.
    """
    from safetensors.torch import load_file

    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in sorted(load_file(path).items()):
        number, name = key.split(".", 1)
        # Of the count of steps there is one for each parameter.
        held = spread(value, parameters[int(number)]) if value.ndim else value
        states.setdefault(int(number), {})[name] = held
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
