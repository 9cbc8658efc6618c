"""``demur`` in a process of FSDP2 on the CPU, started by ``torch.distributed.run``; it also tells what it saw.

Accelerate turns FSDP on for GPUs and their like alone. What it then does is the same on any device, so here its
state is said to be FSDP's right after it is made, as its own branch for GPUs says it. All else is the code of
accelerate, transformers, peft, torch and demur as it is.

``PROBE`` names a file for gradients and for what the first process found out; ``KILL_AT`` is the number of steps
after which the process kills itself.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from demur.harden import _loop
from demur.harden._module import Picks
from demur.harden._sharded import count_parts, gather

make_state = AcceleratorState.__init__


def make_fsdp_state(self: Any, *given: Any, fsdp_plugin: Any = None, **named: Any) -> None:
    """The state of accelerate, which is FSDP's where a plugin is given."""
    make_state(self, *given, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.FSDP
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin = fsdp_plugin
        PartialState._shared_state["distributed_type"] = self.distributed_type


class Probe(_loop.FollowPlan):
    """Follows the plan, and writes down what a test wants to know."""

    def __init__(self, plan: Any) -> None:
        super().__init__(plan)
        self.found: dict[str, Any] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The end of a run that is killed."""
        if os.environ.get("KILL_AT") == str(state.global_step):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """The gradients of a step, clipped."""
        for name, one in model.named_parameters():
            if one.requires_grad:
                self.found[f"gradient/{state.global_step + 1}/{name}"] = gather(one.grad).numpy()

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """How much is here of each weight, and whether the base pass is the base."""
        kept = [one.to_local() if hasattr(one, "to_local") else one for one in model.stack.blocks.parameters()]
        self.found["parts"] = count_parts(model)
        self.found["kept"] = sum(one.numel() for one in kept)
        self.found |= _compare_with_base(model, self._plan.config.target)
        if args.process_index == 0 and "PROBE" in os.environ:
            np.savez(os.environ["PROBE"], **self.found)


def _compare_with_base(model: Any, target: Any) -> dict[str, bool]:
    """Whether states and logits with adapters off are the base's to the last bit, and with adapters on are not."""
    from transformers import AutoModelForCausalLM

    ids = torch.from_numpy(np.random.default_rng(0).integers(3, 250, (4, 12)))
    counts, is_breaker = torch.ones_like(ids, dtype=torch.bool), torch.tensor([False, False, True, True])
    picks, batch = Picks.of(counts, is_breaker), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    needed = dict.fromkeys(model.plan.targets, (True, True))
    model.eval()
    off, on = (model.trace(batch, picks, needed, is_adapted=one) for one in (False, True))

    def read_logits() -> torch.Tensor:
        with torch.no_grad(), model.model.disable_adapter():
            return model.model(**batch).logits

    logits = model.inside(read_logits)
    dtype = torch.bfloat16 if target.dtype == "bf16" else torch.float32
    with torch.no_grad():
        base = AutoModelForCausalLM.from_pretrained(target.model, dtype=dtype)(**batch, output_hidden_states=True)
    whole = {state: base.hidden_states[state].flatten(0, 1) for state in needed}
    return {
        "states_are_equal": all(torch.equal(off[state][1], whole[state][picks.breaker]) for state in needed),
        "logits_are_equal": torch.equal(logits, base.logits),
        "adapted_differ": all(not torch.equal(on[state][1], off[state][1]) for state in needed),
    }


if __name__ == "__main__":
    from demur.cli.main import main

    AcceleratorState.__init__ = make_fsdp_state
    _loop.FollowPlan = Probe
    main()
