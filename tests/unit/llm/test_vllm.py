"""Answers through vLLM: a clear word where it is missing, and what it is asked where it is there."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from demur.errors import ConfigError, MissingDependencyError
from demur.llm import Conversation, GenerationConfig, TargetConfig, generate_with_vllm


@pytest.fixture
def fake(monkeypatch):
    """A stand-in that has vLLM's names, keeps what it is asked, and answers with two tokens and an end."""
    asked = SimpleNamespace(engine=None, calls=[])

    class LLM:
        def __init__(self, **given):
            asked.engine = given

        def generate(self, prompts, sampling, lora_request=None, use_tqdm=True):
            asked.calls.append((prompts, sampling, lora_request))
            end = sampling[0].stop_token_ids[-1]
            one = SimpleNamespace(token_ids=[40, 41, end], finish_reason="stop")
            return [SimpleNamespace(outputs=[one]) for _ in prompts]

    vllm, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    vllm.LLM, vllm.SamplingParams = LLM, lambda **given: SimpleNamespace(**given)
    request.LoRARequest = lambda *given: given
    for name, one in (("vllm", vllm), ("vllm.lora", lora), ("vllm.lora.request", request)):
        monkeypatch.setitem(sys.modules, name, one)
    return asked


ASKED = [Conversation.from_prompt("the cat"), Conversation.from_prompt("tea", "here is")]


def test_a_missing_vllm_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'demur\[vllm\]'"):
        generate_with_vllm(TargetConfig(), {"base": None}, ASKED)


def test_each_adapter_answers_the_same_prompts(fake, save_base, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 8}')
    config = GenerationConfig(max_new_tokens=5, temperature=0.7, seed=2)
    found = generate_with_vllm(
        TargetConfig(model=str(save_base())), {"base": None, "one": str(tmp_path)}, ASKED, config
    )
    assert {name: [reply.token_ids for reply in replies] for name, replies in found.items()} == {
        "base": [(40, 41), (40, 41)],
        "one": [(40, 41), (40, 41)],
    }
    assert all(reply.is_finished for reply in found["one"])
    assert (fake.engine["enable_lora"], fake.engine["max_lora_rank"]) == (True, 8)
    (prompts, sampling, first), (_, _, second) = fake.calls
    assert [first, second] == [None, ("one", 2, str(tmp_path))]
    assert [one.seed for one in sampling] == [2_000_006, 2_000_007]
    assert (sampling[0].top_k, sampling[0].max_tokens) == (-1, 5)
    assert len(prompts[1]["prompt_token_ids"]) > 3


def test_a_folder_without_adapter_is_refused(fake, save_base, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot be read as that of a LoRA adapter \(FileNotFoundError\)"):
        generate_with_vllm(TargetConfig(model=str(save_base())), {"one": str(tmp_path / "x")}, ASKED)


@pytest.mark.parametrize(("rank", "wanted"), [(1, 8), (4, 8), (16, 16), (48, 64), (300, 320)])
def test_a_rank_that_vllm_does_not_take_is_rounded_up(fake, save_base, tmp_path, rank, wanted):
    (tmp_path / "adapter_config.json").write_text(f'{{"r": {rank}}}')
    generate_with_vllm(TargetConfig(model=str(save_base())), {"one": str(tmp_path)}, ASKED)
    assert fake.engine["max_lora_rank"] == wanted


def test_a_rank_above_all_of_vllms_is_refused(fake, save_base, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"r": 1024}')
    with pytest.raises(ConfigError, match=r"rank 1024, and vLLM runs none above 512; .*Target\.generate"):
        generate_with_vllm(TargetConfig(model=str(save_base())), {"one": str(tmp_path)}, ASKED)
