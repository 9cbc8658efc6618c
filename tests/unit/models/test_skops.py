"""Tests of saving scikit-learn objects: parsed and audited, never unpickled."""

import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import PurePosixPath

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from demur.errors import ArtifactError
from demur.models._skops import load_skops, save_skops


def test_estimators_arrays_and_plain_values_come_back_the_same(tmp_path):
    rows, targets = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    head = LogisticRegression().fit(rows, targets)
    save_skops({"head": head, "kept": None, "names": ["a", "b"], "x": rows}, tmp_path / "a.skops")
    found = load_skops(tmp_path / "a.skops")
    np.testing.assert_array_equal(found["head"].predict_proba(rows), head.predict_proba(rows))
    np.testing.assert_array_equal(found["x"], rows)
    assert (found["kept"], found["names"]) == (None, ["a", "b"])


def test_what_is_saved_is_no_pickle(tmp_path):
    save_skops(LogisticRegression(), tmp_path / "a.skops")
    assert all(name.endswith((".json", ".npy")) for name in zipfile.ZipFile(tmp_path / "a.skops").namelist())


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Counter("aab"), "collections.Counter"),
        (PurePosixPath("x"), "pathlib.PurePosixPath"),
        (FunctionTransformer(func=print), "builtins.print"),
        (FunctionTransformer(func=np.save), "numpy.save"),
        ({"deep": [{"er": FunctionTransformer(func=eval)}]}, "builtins.eval"),
    ],
)
def test_a_foreign_type_is_named_and_nothing_is_loaded(tmp_path, monkeypatch, value, name):
    skops.io.dump(value, tmp_path / "a.skops")
    monkeypatch.setattr(skops.io, "load", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(
        ArtifactError, match=rf"holds types demur does not trust \(.*{name}.*\); nothing was loaded"
    ):
        load_skops(tmp_path / "a.skops")


def test_a_foreign_type_in_a_saved_model_is_refused_even_with_right_hashes(saved):
    import json

    import demur
    from demur.paths import hash_file

    skops.io.dump({"head": FunctionTransformer(func=print), "kept": None, "classes": None}, saved / "model.skops")
    manifest = json.loads((saved / "demur.json").read_text())
    manifest["files"]["model.skops"] = hash_file(saved / "model.skops")
    (saved / "demur.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"holds types demur does not trust \(builtins\.print\)"):
        demur.load(saved)


@pytest.mark.parametrize("data", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_one_sentence(tmp_path, data):
    (tmp_path / "a.skops").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"a\.skops is not a readable skops file \(.*\); train again"):
        load_skops(tmp_path / "a.skops")


def test_loading_takes_no_torch_along_and_leaves_it_to_whoever_wants_it(tmp_path):
    save_skops(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), tmp_path / "a.skops")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from demur.models._skops import load_skops\n"
        "load_skops(Path('a.skops'))\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'sklearn.externals.array_api_compat.torch' not in sys.modules\n"
        "import importlib.util\n"
        "if importlib.util.find_spec('torch') is not None:\n"
        "    import sklearn.externals.array_api_compat.torch as found\n"
        "    assert found.asarray is not None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
