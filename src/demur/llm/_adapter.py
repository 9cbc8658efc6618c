"""Adapters on a base: saved with the hash of what they belong to, and refused on anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, require, translate_os_error
from demur.llm._runtime import quiet_announcements
from demur.paths import full_disk_as_os_error, hash_files, hash_value, write_json

_RECORD = "demur_base.json"
"""Beside an adapter that demur saved: the name and the hash of its base."""
_DECIDES_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_CONFIGS = ("config.json", "adapter_config.json")
_OF_THE_WRITER = {"transformers_version", "peft_version", "_name_or_path"}
"""Keys of a configuration that tell who wrote it and from where, and nothing about the model."""
_SETS = {"target_modules", "exclude_modules"}
"""Keys whose values peft holds as sets: each process writes them in an order of its own."""
_DECIDES_TEXT = (
    *("tokenizer*", "*.jinja", "vocab*", "merges.txt", "*.model", "added_tokens.json"),
    *("special_tokens_map.json", "chat_template*", "generation_config.json"),
)
_PREFIX = "base_model.model."
_WEIGHTS = "adapter_model.safetensors"


def hash_weights(folder: str | Path) -> str:
    """SHA-256 over what a folder's model is: its configuration and its weights.

    Saved again by another release of transformers or peft, the same model has the same hash.
    """
    configs = [path for name in _CONFIGS if (path := Path(folder) / name).is_file()]
    plain = [[path.name, _read_plain(path)] for path in configs]
    return hash_value([plain, _hash_found(folder, _DECIDES_WEIGHTS)])


def hash_tokenizer(folder: str | Path) -> str:
    """SHA-256 over how text and tokens of a folder's model become each other, and where its answers end."""
    return _hash_found(folder, _DECIDES_TEXT)


def _read_plain(config: Path) -> Any:
    """A configuration without what its writer said of itself, sets in order; its text where it is no JSON."""
    text = config.read_text(encoding="utf-8", errors="replace")
    try:
        return _drop_writer(json.loads(text))
    except ValueError:
        return text


def _drop_writer(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: sorted(one) if key in _SETS and isinstance(one, list) else _drop_writer(one)
            for key, one in value.items()
            if key not in _OF_THE_WRITER
        }
    return value


def _hash_found(folder: str | Path, patterns: tuple[str, ...]) -> str:
    return hash_files(path for path in sorted(Path(folder).iterdir()) if any(path.match(one) for one in patterns))


def save_adapter(
    module: Any, folder: Path, base: str, base_hash: str | None, weights: Mapping[str, Any] | None = None
) -> None:
    """Save a model's adapter as peft does, with the name and the hash of its base.

    Parameters
    ----------
    module
        A PeftModel.
    folder
        Made where it is not there.
    base
        Name of the base, as given to load it; it stands in ``adapter_config.json`` too.
    base_hash
        See :func:`hash_weights`; None where the base was never saved.
    weights
        The adapter's tensors by their names in ``module``; None where it holds them whole.

    Raises
    ------
    StorageError
        The disk is full or not writable.
    """
    configs = list(module.peft_config.values())
    before = [one.base_model_name_or_path for one in configs]
    try:
        for one in configs:
            # Else it names the folder of a cache, which is nowhere else.
            one.base_model_name_or_path = base
        with full_disk_as_os_error():
            folder.mkdir(parents=True, exist_ok=True)
            # "auto" would look for the base on a hub, to see whether its vocabulary grew.
            module.save_pretrained(str(folder), save_embedding_layers=False, state_dict=weights)
    except OSError as error:
        raise translate_os_error(error, f"saving the adapter {folder.name}") from error
    finally:
        for one, name in zip(configs, before, strict=True):
            one.base_model_name_or_path = name
    write_json(folder / _RECORD, {"base": base, "hash": base_hash})


def find_adapter(adapter: str) -> Path:
    """The folder of a PEFT adapter, with ``~`` as the user's home.

    Raises
    ------
    ConfigError
        There is no adapter.
    """
    folder = Path(adapter).expanduser()
    if not ((folder / "adapter_config.json").is_file() and (folder / _WEIGHTS).is_file()):
        raise ConfigError(
            f"{folder} holds no adapter (adapter_config.json and {_WEIGHTS}); give the folder of a PEFT adapter",
            key="adapter",
        )
    return folder


def put_adapter(module: Any, adapter: str, base: str, base_folder: str | None) -> Any:
    """A base with an adapter around it, not to be trained.

    Parameters
    ----------
    module
        The base.
    adapter
        Folder of a PEFT adapter.
    base
        Name of the base.
    base_folder
        Where the base's files are, to hash them; None checks names and shapes alone.

    Raises
    ------
    ConfigError
        There is no adapter, it cannot be read, or it was trained on another base.
    MissingDependencyError
        peft is not installed.
    """
    peft = require("peft", extra="llm")
    folder = find_adapter(adapter)
    try:
        _check_base(folder, base, base_folder)
        _check_shapes(folder, module, base)
        with quiet_announcements():
            return peft.PeftModel.from_pretrained(module, str(folder), is_trainable=False).eval()
    except ConfigError:
        raise
    except Exception as error:
        # peft and safetensors each have errors of their own.
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(
            f"the adapter in {folder} cannot be put on '{base}' ({reason}); give an adapter of this base",
            key="adapter",
        ) from error


def _check_base(folder: Path, base: str, base_folder: str | None) -> None:
    """By the hash that demur saved, or else by the name in the adapter's configuration."""
    record = folder / _RECORD
    said = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if said.get("hash") and base_folder is not None:
        if said["hash"] != hash_weights(base_folder):
            raise _foreign(folder, base, f"was trained on '{said['base']}', whose weights are others")
        return
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    trained_on = str(config.get("base_model_name_or_path") or "")
    # Folders are named anyhow, and a model is often copied under another owner.
    names = [name.rsplit("/", 1)[-1].lower() for name in (trained_on, base) if _is_hub_name(name)]
    if len(set(names)) == 2:
        raise _foreign(folder, base, f"was trained on '{trained_on}'")


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "~", "/")) and not Path(name).is_dir()


def _check_shapes(folder: Path, module: Any, base: str) -> None:
    """Every low-rank change must have a layer of its size to stand beside."""
    from safetensors import safe_open

    layers = dict(module.named_modules())
    with safe_open(str(folder / _WEIGHTS), framework="np") as tensors:
        for key in tensors.keys():  # noqa: SIM118
            place, _, kind = key.removeprefix(_PREFIX).rpartition(".lora_")
            if not kind.startswith(("A.", "B.")):
                continue
            layer = layers.get(place)
            if layer is None:
                raise _foreign(folder, base, f"changes a layer '{place}' that this base lacks")
            shape = tensors.get_slice(key).get_shape()
            given = shape[1] if kind.startswith("A.") else shape[0]
            size = getattr(layer, "in_features" if kind.startswith("A.") else "out_features", given)
            if given != size:
                raise _foreign(folder, base, f"changes a layer '{place}' of size {given}, which here is {size}")


def _foreign(folder: Path, base: str, why: str) -> ConfigError:
    return ConfigError(
        f"the adapter in {folder} belongs to another base than '{base}': it {why}; give the base it was "
        "trained on, or an adapter of this one",
        key="adapter",
    )
