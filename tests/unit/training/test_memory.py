"""Memory is reckoned close to what a step takes, and too little of it is refused with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from demur.errors import TrainingError
from demur.training import (
    Activations,
    MemoryEstimate,
    ModelShape,
    ParameterCounts,
    TrainConfig,
    check_memory,
    estimate_memory,
    read_shape,
)
from demur.training._memory import (
    _container_free,
    count_parameters,
    free_memory,
    full_memory_as_training_error,
    measure_activations,
)

CPU = TrainConfig(device="cpu", batch_size=8)


def make_bert(**changes: Any) -> nn.Module:
    from transformers import BertConfig, BertModel

    shape = {"hidden_size": 64, "num_hidden_layers": 3, "intermediate_size": 128, "num_attention_heads": 4}
    return BertModel(BertConfig(vocab_size=50, **shape | changes), add_pooling_layer=False)


def make_net() -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 96)
            self.layers = nn.Sequential(
                *(nn.Sequential(nn.Linear(96, 96), nn.GELU(), nn.Dropout(0.1)) for _ in range(4))
            )

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.layers(self.embedding(input_ids))

    return Net()


def make_batch(length: int, rows: int = 1) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.ones((rows, length), dtype=torch.long)}


def peak_of_step(module: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """What tensors take at most in a forward and a backward pass beyond what was there, by torch's own account."""

    def step() -> None:
        outputs = module(**batch)
        getattr(outputs, "last_hidden_state", outputs).sum().backward()

    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return float(np.cumsum([event.nbytes() for event in sorted(events, key=lambda e: e.start_ns())]).max())


@pytest.mark.parametrize("make", [make_bert, make_net])
def test_measured_activations_are_what_a_step_takes(make: Any) -> None:
    module = make()
    found = measure_activations(module, make_batch, longest=96)
    needed = estimate_memory(count_parameters(module), CPU, found, tokens=96)
    peak = peak_of_step(module.train(), make_batch(96, rows=8))
    assert needed.activations == pytest.approx(peak, rel=0.35)


def test_a_shape_tells_about_as_much_as_measuring() -> None:
    module = make_bert()
    measured = measure_activations(module, make_batch, 64).of_batch(8, 64, recomputed=False)
    shape = read_shape(module.config)
    assert shape == ModelShape(64, 3, 128, 4)
    assert Activations.of_shape(shape).of_batch(8, 64, recomputed=False) == pytest.approx(measured, rel=0.3)


def test_recomputed_activations_take_less() -> None:
    found = Activations.of_shape(ModelShape(64, 12, 256, 4))
    assert found.of_batch(8, 64, recomputed=True) < found.of_batch(8, 64, recomputed=False) / 3


def test_measuring_leaves_weights_gradients_and_random_numbers_alone() -> None:
    module = make_bert().eval()
    before, state = {name: one.clone() for name, one in module.state_dict().items()}, torch.get_rng_state()
    measure_activations(module, make_batch, 40)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module.training


@pytest.mark.parametrize("longest", [1, 2, 9, 30])
def test_short_rows_can_be_measured(longest: int) -> None:
    found = measure_activations(make_net(), make_batch, longest)
    assert found.of_batch(1, longest, recomputed=False) > 0


def test_frozen_parameters_need_no_gradient_and_no_optimiser() -> None:
    module = make_net()
    module.get_submodule("embedding").requires_grad_(False)
    counts = count_parameters(module)
    total, frozen = 50 * 96 + 4 * (96 * 96 + 96), 50 * 96
    assert counts == ParameterCounts(total, total - frozen, 4.0)
    found = estimate_memory(counts, CPU, Activations(0, 10.0, 0), tokens=5)
    assert (found.weights, found.gradients) == (4 * total, 4 * (total - frozen))
    assert found.optimizer == 12 * (total - frozen)
    assert found.activations == pytest.approx(1.15 * 8 * 5 * 10)


def make_estimate(available: float, loaded: bool = False) -> MemoryEstimate:
    gib = 2.0**30
    return MemoryEstimate(2 * gib, 2 * gib, 6 * gib, 5 * gib, "cuda", available * gib, loaded)


def test_too_little_memory_is_refused_with_what_helps() -> None:
    message = (
        r"needs about 15\.0 GiB \(weights 2\.0, gradients 2\.0, optimizer 6\.0, activations 5\.0\), but the cuda "
        r"has 14\.0 GiB free; lower train\.batch_size and raise train\.accumulate.*gradient_checkpointing.*LoRA"
    )
    with pytest.raises(TrainingError, match=message):
        check_memory(make_estimate(14))
    check_memory(make_estimate(15))


def test_weights_that_are_loaded_are_not_asked_for_again() -> None:
    check_memory(make_estimate(13, loaded=True))
    with pytest.raises(TrainingError, match=r"12\.0 GiB free beside the weights"):
        check_memory(make_estimate(12, loaded=True))


def test_an_estimate_is_written_as_json() -> None:
    found = make_estimate(1).to_json()
    assert found["total"] == 15 * 2**30
    assert found["device"] == "cuda"


def test_free_memory_is_some_but_not_more_than_there_is() -> None:
    import psutil

    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert _container_free(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 200\n")
    assert _container_free(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert _container_free(tmp_path) is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_that_runs_out_is_a_training_error(error: Exception) -> None:
    wanted = pytest.raises(TrainingError, match="memory of the cuda ran out in training; lower train")
    with wanted, full_memory_as_training_error("cuda"):
        raise error


def test_other_errors_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), full_memory_as_training_error():
        raise RuntimeError("shapes differ")
