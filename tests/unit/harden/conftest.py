"""A random two-block model with a chat template, saved as a folder; harmless rows to break and to retain."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STUFFS = ["glimmerwax", "moonsalt", "brindlefoam", "quillsmoke", "tarnberry", "velvet ash", "noonglass", "ferroil"]
CHORES = ["tea", "bread", "a kite", "soap", "a birdhouse", "soup", "paper", "a lamp"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of these tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def build_model(layers: int = 3, seed: int = 0) -> Any:
    """A random llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=260,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            initializer_range=0.2,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
        return LlamaForCausalLM(config).eval()


def build_tokenizer(template: str | None = TEMPLATE) -> Any:
    """One token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(words[:3])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=words[0], eos_token=words[2])
    wrapped.chat_template = template
    return wrapped


@pytest.fixture
def make_model() -> Callable[..., Any]:
    """Maker of random llamas: ``make_model(layers=3, seed=0)``."""
    return build_model


@pytest.fixture
def make_target() -> Callable[..., Any]:
    """Maker of a target around a random llama: ``make_target(template=..., layers=3)``."""
    from demur.llm import Target

    return lambda template=TEMPLATE, **sizes: Target(build_model(**sizes), build_tokenizer(template))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random three-block model as transformers saves it."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    build_model().save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``breakers.jsonl``, ``chat.jsonl``, ``refusals.jsonl``."""
    folder = tmp_path_factory.mktemp("data")
    rows = {
        "breakers": [
            (f"how to make {stuff}", f"Take {stuff} and stir it {n + 2} times.") for n, stuff in enumerate(STUFFS)
        ],
        "chat": [
            (f"how to make {chore}", f"Make {chore} {'slowly ' * (n % 3)}at home.")
            for n, chore in enumerate(CHORES)
        ],
        "refusals": [(f"how do I get {stuff}", "Sorry, no.") for stuff in STUFFS],
    }
    for name, pairs in rows.items():
        lines = [json.dumps({"prompt": prompt, "response": response}) for prompt, response in pairs]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def values(model_folder: Path, data_folder: Path) -> dict[str, Any]:
    """A run of some steps, as values."""
    return {
        "target": {"model": str(model_folder), "device": "cpu"},
        "data": {
            "breakers": [{"path": str(data_folder / "breakers.jsonl")}],
            "retain": [
                {"path": str(data_folder / "chat.jsonl"), "share": 2.0},
                {"path": str(data_folder / "refusals.jsonl"), "kind": "refusal"},
            ],
            "held_out": 0.25,
            "max_tokens": 96,
        },
        "layers": [1, 2],
        "steps": 6,
        "batch_size": 4,
        "learning_rate": 5e-3,
        "lora": {"rank": 4, "dropout": 0.0},
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "kl_every": 0,
        "stop": {"enabled": False},
    }


@pytest.fixture
def make_config(values: dict[str, Any]) -> Callable[..., Any]:
    """Maker of configurations: ``make_config(steps=2)`` changes a key, mappings are merged."""
    from demur.config import merge_values, parse_settings
    from demur.harden import HardenConfig

    return lambda **changes: parse_settings(HardenConfig, merge_values(values, changes))


@pytest.fixture
def breaker(make_model: Callable[..., Any]) -> Any:
    """Two adapted blocks of three, whose adapters do something."""
    import torch

    from demur.harden import LoraSettings
    from demur.harden._blocks import attach_lora, find_stack, nudge_adapters
    from demur.harden._module import BreakerModule, StatePlan

    model = make_model()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapted = attach_lora(model, find_stack(model), 2, LoraSettings(rank=4, dropout=0.0))
        nudge_adapters(adapted, 0.1)
    return BreakerModule(adapted, StatePlan(targets=(1, 2), retained=(1, 2), blocks=2, faithful=False))


@pytest.fixture
def make_split() -> Iterator[Callable[[Any], Any]]:
    """Splits a breaker as FSDP2 does, in a group of this process alone, whose part of each weight is all of it."""
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    def split(module: Any) -> Any:
        mesh = init_device_mesh("cpu", (1,))
        for block in module.stack.blocks:
            fully_shard(block, mesh=mesh)
        return fully_shard(module, mesh=mesh)

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield split
    finally:
        dist.destroy_process_group()


@pytest.fixture
def split_breaker(breaker: Any, make_split: Callable[[Any], Any]) -> Any:
    """The breaker, split."""
    return make_split(breaker)
