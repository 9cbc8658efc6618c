"""A defence's change of the weights made smaller: is there a strength at which it stops working, and what is lost?

References
----------
Ilharco et al., "Editing Models with Task Arithmetic", ICLR 2023, section 3: differences of weights can be scaled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from demur.errors import UsageError
from demur.llm import Target
from demur.stress._protocol import Access, Attack, Cost, Setting, Stage
from demur.stress._restore import restoring
from demur.stress.attenuate._config import AttenuateConfig


class AttenuateAttack(Attack[AttenuateConfig]):
    """An adapter scaled down; or the weights moved towards those of the base, where the defence is merged."""

    name = "attenuate"
    access: ClassVar[Access] = "weights"
    title = "The defence is turned down by degrees, which whoever holds the weights can do."
    on_defences = True
    config_type = AttenuateConfig

    def stages(self, target: Target, setting: Setting) -> Iterator[Stage]:
        # The least done to the model first.
        for factor in sorted(set(self.config.factors), reverse=True):
            label = f"factor={factor:g}"
            if target.has_adapter:
                with scaling_adapter(target, factor):
                    yield Stage(target, 0, Cost(), label=label, notes={"by": "adapter"})
            elif setting.base is not None:
                with restoring(target.module):
                    move_towards(target.module, setting.base.module, factor)
                    yield Stage(target, 0, Cost(), label=label, notes={"by": "weights"})
            else:
                raise UsageError(
                    f"there is no defence to turn down in '{target.name}': it has no adapter, and no base is "
                    "given; give the undefended model, or leave the attack 'attenuate' out"
                )


@contextmanager
def scaling_adapter(target: Target, factor: float) -> Iterator[Target]:
    """Multiply what an adapter adds to the weights, for a block.

    Parameters
    ----------
    target
        With an adapter.
    factor
        From 0, which is the base bit for bit, to 1, which changes nothing.

    Raises
    ------
    UsageError
        The adapter is no sum that could be scaled.
    """
    if factor == 0:
        with target.without_adapter():
            yield target
        return
    layers = [part for part in target.module.modules() if isinstance(getattr(part, "scaling", None), dict)]
    if not layers or not is_sum(target.module):
        raise UsageError(
            f"the adapter of '{target.name}' does more than add to the weights, so it cannot be scaled; set "
            "factors to 0, or merge it and give the base"
        )
    before = [dict(part.scaling) for part in layers]
    try:
        for part in layers:
            part.scaling.update({name: factor * value for name, value in part.scaling.items()})
        yield target
    finally:
        for part, values in zip(layers, before, strict=True):
            part.scaling.update(values)


def is_sum(module: Any) -> bool:
    """Whether an adapter does nothing but add to weights: it keeps no whole copy of a layer, and norms none.

    Parameters
    ----------
    module
        A PeftModel.
    """
    from torch import nn

    return not any(
        isinstance(getattr(part, "modules_to_save", None), nn.ModuleDict)
        or len(getattr(part, "lora_magnitude_vector", ()))
        for part in module.modules()
    )


def move_towards(module: Any, base: Any, factor: float) -> None:
    """Scale a model's difference from its base, in place.

    Parameters
    ----------
    module
        The defended model.
    base
        A model of the same shapes.
    factor
        From 0, which gives the base's weights bit for bit, to 1, which changes nothing.

    Raises
    ------
    UsageError
        The two do not have the same weights by name and shape.
    """
    import torch

    others = dict(base.named_parameters())
    own = dict(module.named_parameters())
    if {name: one.shape for name, one in own.items()} != {name: one.shape for name, one in others.items()}:
        raise UsageError(
            "the defended model and the base do not have the same weights by name and shape, so there is nothing "
            "between them; give the base the defence was trained on"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            there = others[name].to(tensor.device)
            if factor == 0:
                tensor.data.copy_(there)
            elif factor < 1:
                wide = torch.promote_types(tensor.dtype, torch.float32)
                tensor.data.copy_(torch.lerp(there.to(wide), tensor.data.to(wide), factor))
