"""FSDP2: what a training does otherwise where every process holds a part of each weight.

What is split are the blocks, each on its own, and the rest of the model as one; adapters lie in the blocks. A
weight that is split is a ``DTensor``, and to read one whole is a joint act: every process calls :func:`gather` and
:func:`spread`, in the same order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.fsdp import FSDPModule, register_fsdp_forward_method
from torch.distributed.fsdp.wrap import transformer_auto_wrap_policy
from torch.distributed.tensor import DTensor, distribute_tensor

if TYPE_CHECKING:
    from demur.harden._module import BreakerModule


def is_sharded(module: Any) -> bool:
    """Whether FSDP2 has split a module."""
    return isinstance(module, FSDPModule)


def count_parts(module: Any) -> int:
    """Processes that share each weight; 1 where every process holds it whole."""
    found = next((one for one in module.parameters() if isinstance(one, DTensor)), None)
    # Of a mesh of two dimensions the last one splits, the first one copies.
    return 1 if found is None else found.device_mesh.size(found.device_mesh.ndim - 1)


def settle_plugin(plugin: Any, module: BreakerModule) -> None:
    """Have accelerate split each block on its own, and leave alone the types of what goes in and comes out.

    Parameters
    ----------
    plugin
        Accelerate's settings of FSDP, in place.
    module
        Not split yet.
    """
    plugin.auto_wrap_policy = transformer_auto_wrap_policy
    plugin.transformer_cls_names_to_wrap = sorted({type(block).__name__ for block in module.stack.blocks})
    # With adapters peft also turns their gradients off and on, of whichever parameters a block has just then: the
    # parts. A block kept whole after the base pass would be left with parts that want no gradient.
    plugin.reshard_after_forward = True
    policy = plugin.mixed_precision_policy
    if policy is not None:
        # Else bf16 rounds the factors on the losses, the losses, and the gradients of adapters kept in float32.
        plugin.mixed_precision_policy = replace(
            policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False
        )


def open_inside(module: Any) -> None:
    """Have :meth:`BreakerModule.inside` put weights together as a forward pass does."""
    register_fsdp_forward_method(module, "inside")


def gather(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor whole and on the CPU, whether it is split or not."""
    if isinstance(tensor, DTensor):
        # A part may wait on the CPU, where NCCL does not reach.
        tensor = tensor.to(tensor.device_mesh.device_type).full_tensor()  # type: ignore[attr-defined]
    return tensor.detach().cpu()


def spread(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, split as another is; the first process's counts."""
    if not isinstance(like, DTensor):
        return value
    return distribute_tensor(value.to(like.device_mesh.device_type), like.device_mesh, like.placements)
