"""The folders of an export are written whole or not at all."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from demur.errors import NoMemoryError, StorageError
from demur.harden._export import export_adapter, save_merged, unwrap_base
from demur.llm import TargetConfig
from demur.paths import replace_folder_when_done


def test_a_folder_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with replace_folder_when_done(tmp_path / "adapter", "saving adapter") as part:
        (part / "a").write_text("new")
        assert not (tmp_path / "adapter").exists()
    assert (tmp_path / "adapter" / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_an_older_folder_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replace_folder_when_done(tmp_path / "adapter", "saving adapter") as part:
            (part / text).touch()
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["new"]
    with pytest.raises(KeyboardInterrupt), replace_folder_when_done(tmp_path / "adapter", "saving adapter"):
        raise KeyboardInterrupt
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["new"]


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    def fill() -> None:
        with replace_folder_when_done(tmp_path / "merged", "saving merged") as part:
            (part / "half").touch()
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="no disk space left while saving merged"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_memory_that_runs_out_while_merging_is_one_sentence(
    make_target: Callable[..., Any], tmp_path: Path
) -> None:
    target = make_target()

    def fill(**_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    target.module.merge_and_unload = fill
    with pytest.raises(NoMemoryError, match=r"memory ran out while merging the adapter; .* the adapter is saved"):
        save_merged(target, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_target_without_adapter_stands_on_itself(tmp_path: Path) -> None:
    config = TargetConfig(model="some/model")
    assert unwrap_base(config, tmp_path / "base", SimpleNamespace()) is config  # type: ignore[arg-type]


def test_a_second_process_reads_what_the_first_one_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings, and so its checkpoints' fingerprint, are those of the first."""
    from contextlib import nullcontext

    from demur.harden import _export as export

    monkeypatch.setattr(export, "load_target", lambda _: pytest.fail("merged it once more"))
    arguments = SimpleNamespace(main_process_first=lambda desc: nullcontext(), local_process_index=1)
    config = TargetConfig(model="some/model", adapter="mine", chat_template="mine.jinja", system="Be kind.")
    found = unwrap_base(config, tmp_path / "base", arguments)  # type: ignore[arg-type]
    assert found == TargetConfig(model=str(tmp_path / "base"), system="Be kind.")


def test_a_merged_base_tells_what_was_merged(make_target: Callable[..., Any], tmp_path: Path) -> None:
    target = make_target()
    target.module.merge_and_unload = lambda safe_merge: target.module
    save_merged(target, tmp_path / "base")
    found = json.loads((tmp_path / "base" / "demur_source.json").read_text(encoding="utf-8"))
    assert found == {"target": target.fingerprint}


@pytest.mark.parametrize("is_split", [False, True])
def test_an_adapter_is_saved_whole_by_the_writer_alone(
    breaker: Any, make_split: Callable[..., Any], make_target: Callable[..., Any], tmp_path: Path, is_split: bool
) -> None:
    wanted = {name: one.detach().clone() for name, one in breaker.model.named_parameters() if one.requires_grad}
    module = make_split(breaker) if is_split else breaker
    export_adapter(make_target(), module, tmp_path / "adapter", is_writer=False)
    assert list(tmp_path.iterdir()) == []
    export_adapter(make_target(), module, tmp_path / "adapter")
    found = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {name.replace(".weight", ".default.weight") for name in found} == wanted.keys()
    assert all(torch.equal(one, wanted[name.replace(".weight", ".default.weight")]) for name, one in found.items())
