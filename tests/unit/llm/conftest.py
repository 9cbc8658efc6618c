"""A tiny causal language model as a GGUF file, a SentencePiece vocabulary, and a cache of their own."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

WORDS = (
    "the cat sat on a mat and how to make tea please sorry no yes can i help with that here is bread " * 3
).split()


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for this test alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DEMUR_CACHE", str(folder))
    return folder


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No hub is known to be out of reach."""
    from demur.llm import _hub

    monkeypatch.setattr(_hub, "_failed", {})


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer llama with a byte-level vocabulary and random weights, as a GGUF file."""
    from gguf import GGUFWriter
    from tokenizers.pre_tokenizers import ByteLevel

    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *sorted(ByteLevel.alphabet()), "th", "the", "Ġa"]
    writer = GGUFWriter(str(path), "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(16)
    writer.add_block_count(2)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["t h", "th e", "Ġ a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    random = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), 16), "output_norm": (16,)}
    for block in range(2):
        name = f"blk.{block}"
        shapes |= {f"{name}.attn_norm": (16,), f"{name}.ffn_norm": (16,)}
        shapes |= {f"{name}.attn_q": (16, 16), f"{name}.attn_k": (8, 16), f"{name}.attn_v": (8, 16)}
        shapes |= {f"{name}.attn_output": (16, 16), f"{name}.ffn_gate": (32, 16)}
        shapes |= {f"{name}.ffn_up": (32, 16), f"{name}.ffn_down": (16, 32)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.3, shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def spm_bytes() -> bytes:
    """A SentencePiece vocabulary with the special tokens of DeBERTa v3 in their places."""
    import sentencepiece

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS[at : at + 7]) for at in range(len(WORDS) - 7)]),
        model_writer=written,
        vocab_size=60,
        model_type="unigram",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return written.getvalue()


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def make_tokenizer():
    """Maker of byte-level tokenizers with some merges: ``make_tokenizer(template=CHATML)``."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    def make(template=CHATML):
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        raw.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
        raw.train_from_iterator([*WORDS, "\n\n", *(f" {word}" for word in WORDS), "\n\n", "\n\n"], trainer)
        raw.add_special_tokens([AddedToken(name) for name in ("<|end|>", "<|im_start|>", "<|im_end|>")])
        found = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>")
        found.chat_template = template
        return found

    return make


@pytest.fixture(scope="session")
def make_module():
    """Maker of tiny random llamas: ``make_module(hidden_size=32)``."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(seed=0, **changes):
        values = {
            "vocab_size": 320,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            "tie_word_embeddings": False,
            # Else random weights are so small that every token is as good as any other.
            "initializer_range": 0.3,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        }
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return LlamaForCausalLM(LlamaConfig(**values | changes)).eval()

    return make


@pytest.fixture
def make_target(make_module, make_tokenizer):
    """Maker of tiny targets in this process: ``make_target(template=..., seed=1, tie_word_embeddings=True)``."""
    from demur.llm import Target, TargetConfig

    def make(template=CHATML, system=None, **changes):
        return Target(make_module(**changes), make_tokenizer(template), TargetConfig(model="tiny", system=system))

    return make


@pytest.fixture
def target(make_target):
    """A tiny target."""
    return make_target()


@pytest.fixture
def conversations():
    """Requests of several lengths."""
    from demur.llm import Conversation

    return [Conversation.from_prompt(" ".join(WORDS[at : at + 2 + 3 * at])) for at in range(6)]


@pytest.fixture
def add_adapter():
    """Puts a random low-rank adapter around a module: ``add_adapter(module, seed=1)``."""
    import torch
    from peft import LoraConfig, get_peft_model

    def add(module, seed=1, **changes):
        values = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return get_peft_model(module, LoraConfig(**values | changes)).eval()

    return add


@pytest.fixture
def save_base(make_module, make_tokenizer, tmp_path):
    """Saves a tiny model with its tokenizer: ``save_base("name", template=None)`` gives the folder."""

    def save(name="base", template=CHATML, **changes):
        folder = tmp_path / name
        make_module(**changes).save_pretrained(str(folder))
        make_tokenizer(template).save_pretrained(str(folder))
        return folder

    return save
