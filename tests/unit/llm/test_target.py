"""A target is its weights, tokenizer, template and system message, and says which."""

import pytest
import torch

from demur.errors import ConfigError, NoMemoryError, UsageError
from demur.llm import Conversation, GenerationConfig, Target, TargetConfig, hash_target, load_target
from demur.llm import _target as module


def load(base, **changes):
    return load_target(TargetConfig(model=str(base), device="cpu", **changes))


def test_a_folder_becomes_a_target(save_base):
    target = load(save_base("small"))
    assert (target.name, target.depth, target.has_adapter) == ("small", 3, False)
    assert target.module.dtype == torch.float32
    assert not target.module.training
    (reply,) = target.generate([Conversation.from_prompt("the cat")], GenerationConfig(max_new_tokens=3))
    assert len(reply.token_ids) <= 3


def test_a_gguf_file_needs_a_template_from_a_file(tiny_gguf, tmp_path):
    with pytest.raises(ConfigError, match="has no chat template"):
        load(tiny_gguf)
    (tmp_path / "own.jinja").write_text("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
    target = load(tiny_gguf, chat_template=str(tmp_path / "own.jinja"))
    assert target.render(Conversation.from_prompt("tea")) == "<|im_start|>tea<|im_end|>"
    assert target.name == "tiny.gguf"


def test_weights_have_the_type_that_is_asked_for(save_base):
    assert load(save_base(), dtype="bf16").module.dtype == torch.bfloat16


def test_a_base_without_template_is_refused(save_base):
    with pytest.raises(ConfigError, match=r"no chat template.*give a Jinja file"):
        load(save_base(template=None))


def test_the_fingerprint_is_of_weights_type_template_and_system_message(save_base):
    base = save_base()
    prints = {
        load(base).fingerprint,
        load(base, dtype="bf16").fingerprint,
        load(base, system="be kind").fingerprint,
        load(save_base("seed", seed=1)).fingerprint,
        load(save_base("template", template="{{ messages }}")).fingerprint,
    }
    assert len(prints) == 5
    assert load(base).fingerprint in prints


def test_the_fingerprint_of_a_model_made_here_is_of_its_weights(make_target):
    assert make_target().fingerprint == make_target().fingerprint
    assert make_target().fingerprint != make_target(seed=1).fingerprint


def test_an_adapter_is_in_the_name_and_in_the_fingerprint(save_base, add_adapter, tmp_path):
    target = load(save_base("small"))
    target.with_module(add_adapter(target.module)).save_adapter(tmp_path / "breaker")
    adapted = load(tmp_path / "small", adapter=str(tmp_path / "breaker"))
    assert adapted.name == "small+breaker"
    assert adapted.fingerprint != target.fingerprint


def test_what_would_be_loaded_is_known_by_its_files_and_the_type_of_its_weights(
    save_base, add_adapter, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    base, template = save_base(), tmp_path / "chat.jinja"
    target = load(base)
    target.with_module(add_adapter(target.module)).save_adapter(tmp_path / "mine")
    template.write_text("{{ messages }}", encoding="utf-8")

    def hash_it(**given):
        return hash_target(TargetConfig(model=str(base), **given))

    given = [
        {"system": "Be brief."},
        {"chat_template": str(template)},
        {"adapter": str(tmp_path / "mine")},
        {"dtype": "bf16"},
    ]
    assert len({hash_it(), *(hash_it(**one) for one in given)}) == 5
    assert hash_it() == hash_it(device="cpu") == hash_it(dtype="fp32")
    before = hash_it(chat_template=str(template))
    template.write_text("{{ messages }} ", encoding="utf-8")
    assert hash_it(chat_template=str(template)) != before


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"adapter": "/nowhere/ad"}, "/nowhere/ad holds no adapter"),
        ({"chat_template": "/nowhere/t.jinja"}, "the chat template /nowhere/t.jinja cannot be read"),
    ],
)
def test_what_is_not_there_cannot_be_hashed_and_is_named(save_base, given, match):
    with pytest.raises(ConfigError, match=match):
        hash_target(TargetConfig(model=str(save_base()), **given))


def test_turning_an_adapter_off_is_the_base(save_base, add_adapter):
    target = load(save_base())
    asked, config = [Conversation.from_prompt("the cat sat")], GenerationConfig(max_new_tokens=8)
    base = target.generate(asked, config)
    adapted = target.with_module(add_adapter(target.module))
    assert adapted.generate(asked, config) != base
    with adapted.without_adapter() as off:
        assert off.generate(asked, config) == base
    with pytest.raises(UsageError, match="has no adapter to turn off"), load(target.folder).without_adapter():
        pass


def test_turns_end_where_the_model_says_too(make_module, make_tokenizer):
    net = make_module()
    net.generation_config.eos_token_id = [7, 9]
    assert {7, 9} <= {*Target(net, make_tokenizer()).chat.stop_ids}


def test_rows_are_padded_with_what_the_tokenizer_has(make_module, make_tokenizer):
    tokenizer = make_tokenizer()
    target = Target(make_module(), tokenizer)
    assert target.pad_id == tokenizer.pad_token_id
    tokenizer.pad_token = None
    assert target.pad_id == tokenizer.eos_token_id
    tokenizer.eos_token = None
    assert target.pad_id == 0


def test_a_model_that_does_not_fit_the_memory_is_one_sentence(save_base, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(module, "load_causal", fail)
    with pytest.raises(NoMemoryError, match="ran out while loading the model; take a smaller model, or set"):
        load(save_base())


@pytest.mark.slow
def test_the_embedded_model_answers_and_its_batches_are_exact():
    target = load_target(TargetConfig(device="cpu"))
    asked = [Conversation.from_prompt(f"What is the capital of {name}?") for name in ("France", "Italy")]
    config = GenerationConfig(max_new_tokens=12)
    replies = target.generate(asked, config)
    assert "Paris" in replies[0].text
    assert replies[0].is_finished
    assert replies == [target.generate([one], config)[0] for one in asked]
