"""An adapter is put on the base it was trained on, and on no other."""

import json
import shutil

import pytest
import torch

from demur.errors import ConfigError, StorageError, UsageError
from demur.llm import TargetConfig, hash_tokenizer, hash_weights, load_target


@pytest.fixture
def adapted(save_base, add_adapter, tmp_path):
    """A base's folder, an adapter on it saved by demur, and the target it was."""
    base = save_base()
    target = load_target(TargetConfig(model=str(base), device="cpu"))
    target = target.with_module(add_adapter(target.module))
    target.save_adapter(tmp_path / "adapter")
    return base, tmp_path / "adapter", target


def load(base, adapter):
    return load_target(TargetConfig(model=str(base), adapter=str(adapter), device="cpu"))


def forget_record(adapter, **changes):
    """As another program would have saved it."""
    (adapter / "demur_base.json").unlink()
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | changes))


def test_an_adapter_answers_as_before_it_was_saved(adapted, conversations):
    base, adapter, before = adapted
    found = load(base, adapter)
    ids = torch.from_numpy(found.prompt_ids(conversations[2])).long()[None]
    with torch.no_grad():
        torch.testing.assert_close(found.module(ids).logits, before.module(ids).logits)
    assert not any(one.requires_grad for one in found.module.parameters())


def test_a_saved_adapter_names_its_base_as_it_was_given(adapted):
    base, adapter, _ = adapted
    record = json.loads((adapter / "demur_base.json").read_text())
    assert record == {"base": str(base), "hash": hash_weights(base)}
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 4


def test_weights_that_are_given_are_saved_in_place_of_the_modules(adapted, tmp_path):
    """Of a module whose weights are split between processes, say."""
    base, _, target = adapted
    found = {name: torch.full_like(one, 0.5) for name, one in target.module.named_parameters() if ".lora_" in name}
    target.save_adapter(tmp_path / "given", found)
    saved = [one for name, one in load(base, tmp_path / "given").module.named_parameters() if ".lora_" in name]
    assert len(saved) == len(found) > 0
    assert all(bool((one == 0.5).all()) for one in saved)


def test_the_base_may_have_moved(adapted, tmp_path):
    base, adapter, _ = adapted
    assert load(shutil.copytree(base, tmp_path / "elsewhere"), adapter).has_adapter


def test_a_base_of_other_weights_is_refused(adapted, save_base):
    _, adapter, _ = adapted
    with pytest.raises(ConfigError, match=r"another base than .*other'.*whose weights are others; give the"):
        load(save_base("other", seed=1), adapter)


def test_a_base_of_another_width_is_refused(adapted, save_base):
    _, adapter, _ = adapted
    forget_record(adapter)
    with pytest.raises(ConfigError, match=r"belongs to another base.*_proj' of size 32, which here is 48"):
        load(save_base("wide", hidden_size=48), adapter)


def test_a_base_of_fewer_blocks_is_refused(adapted, save_base):
    _, adapter, _ = adapted
    forget_record(adapter)
    with pytest.raises(ConfigError, match=r"changes a layer 'model\.layers\.2\..*' that this base lacks"):
        load(save_base("low", num_hidden_layers=2), adapter)


def test_an_adapter_of_another_program_is_known_by_name(adapted, monkeypatch):
    base, adapter, _ = adapted
    forget_record(adapter, base_model_name_or_path="their/other-1b")
    assert load(base, adapter).has_adapter
    from demur.llm import _target

    monkeypatch.setattr(_target, "resolve_causal", lambda _: str(base))
    with pytest.raises(ConfigError, match="another base than 'our/tiny-1b': it was trained on 'their/other-1b'"):
        load("our/tiny-1b", adapter)
    assert load("our/Other-1B", adapter).has_adapter


def test_a_folder_without_adapter_is_refused(adapted, tmp_path):
    with pytest.raises(ConfigError, match=r"holds no adapter .* give the folder of a PEFT adapter"):
        load(adapted[0], tmp_path)


def test_a_broken_adapter_is_refused(adapted):
    base, adapter, _ = adapted
    (adapter / "adapter_model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="cannot be put on"):
        load(base, adapter)


def test_a_target_without_adapter_saves_none(target, tmp_path):
    with pytest.raises(UsageError, match="'tiny' has no adapter to save"):
        target.save_adapter(tmp_path)


def test_a_full_disk_is_one_sentence(adapted, tmp_path, monkeypatch):
    _, _, target = adapted

    def fail(*_, **__):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(target.module, "save_pretrained", fail)
    with pytest.raises(StorageError, match="no disk space left while saving the adapter full; free some space"):
        target.save_adapter(tmp_path / "full")


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"])
def test_how_text_is_read_has_a_hash_of_its_own(save_base, name):
    base = save_base()
    weights, text = hash_weights(base), hash_tokenizer(base)
    (base / name).write_text('{"other": 1}')
    assert hash_weights(base) == weights
    assert hash_tokenizer(base) != text


def test_the_hash_is_of_what_decides_the_answers(save_base, tmp_path):
    base = save_base()
    before = hash_weights(base)
    (base / "notes.txt").write_text("x")
    assert hash_weights(base) == before
    assert hash_weights(save_base("other", seed=1)) != before


def rewrite(folder, name, **changes):
    """A configuration as another release would have written it."""
    config = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(config | changes, sort_keys=True))


def test_a_base_saved_again_by_another_release_is_the_same_base(adapted):
    base, adapter, _ = adapted
    before = hash_weights(base), hash_weights(adapter)
    rewrite(base, "config.json", transformers_version="9.9", _name_or_path="elsewhere")
    rewrite(adapter, "adapter_config.json", peft_version="9.9")
    assert (hash_weights(base), hash_weights(adapter)) == before
    assert load(base, adapter).has_adapter


def test_a_base_of_another_configuration_is_another_base(adapted):
    base, adapter, _ = adapted
    rewrite(base, "config.json", rope_theta=77.0)
    with pytest.raises(ConfigError, match="whose weights are others"):
        load(base, adapter)


def test_announcements_of_libraries_are_not_shown(adapted, monkeypatch):
    import warnings

    from peft import PeftModel

    base, adapter, _ = adapted
    read = PeftModel.from_pretrained.__func__

    def announce(kind, *given, **named):
        warnings.warn_explicit("will be removed", FutureWarning, "x.py", 1, module="transformers.modeling_utils")
        return read(kind, *given, **named)

    monkeypatch.setattr(PeftModel, "from_pretrained", classmethod(announce))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(base, adapter)


def test_the_order_in_which_a_set_was_written_is_not_in_the_hash(tmp_path):
    for name, modules in (("a", ["q_proj", "v_proj"]), ("b", ["v_proj", "q_proj"]), ("c", ["q_proj", "k_proj"])):
        (tmp_path / name).mkdir()
        config = {"r": 4, "target_modules": modules}
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    one, other, third = (hash_weights(tmp_path / name) for name in "abc")
    assert one == other != third
