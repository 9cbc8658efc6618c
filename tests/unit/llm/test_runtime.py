"""A device and a type, evaluation mode for a block, and one sentence where memory or the disk is full."""

import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM

from demur.errors import ConfigError, LongRowError, NoMemoryError
from demur.llm import check_readable, evaluating, full_memory_as_error
from demur.llm._runtime import choose_device, choose_dtype


def test_without_a_gpu_auto_is_the_processor_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    assert choose_dtype("auto", choose_device("auto")) is torch.float32


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu").type == "cpu"
    assert choose_dtype("auto", choose_device("auto")) is torch.bfloat16


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch sees no GPU; set device: cpu or auto"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("name", "wanted"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_type_that_is_named_is_taken(name, wanted):
    assert choose_dtype(name, torch.device("cpu")) is wanted


def test_rows_are_refused_by_what_the_model_says_it_reads_and_only_then(make_module):
    module = make_module(max_position_embeddings=8)
    check_readable(module, [8, 3])
    check_readable(module, [])
    with pytest.raises(LongRowError, match="row 1 has 9 tokens, but the model reads 8; shorten it"):
        check_readable(module, [8, 9])
    without = BloomForCausalLM(BloomConfig(vocab_size=8, hidden_size=8, n_layer=1, n_head=1))
    check_readable(without, [9])


def test_every_part_goes_back_to_its_own_mode():
    net = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Dropout()).train()
    net[1].eval()
    with evaluating(net):
        assert not any(part.training for part in net.modules())
    assert [part.training for part in net.modules()] == [True, True, False]


def test_full_memory_names_the_remedy():
    with (
        pytest.raises(NoMemoryError, match="memory ran out while baking; eat less"),
        full_memory_as_error("baking", "eat less"),
    ):
        raise MemoryError


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes differ"), full_memory_as_error("baking", "eat less"):
        raise RuntimeError("shapes differ")
