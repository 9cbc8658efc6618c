import numpy as np

from demur.stress import StressModel
from demur.stress._bench import Bench


def test_a_model_is_loaded_once_and_let_go_for_another(make_grid, taught_base, tmp_path):
    import shutil

    shutil.copytree(taught_base, tmp_path / "other")
    bench = Bench(make_grid())
    first, second = StressModel(model=str(taught_base)), StressModel(model=str(tmp_path / "other"))
    target = bench.target(first, False)
    assert bench.target(first, False) is target
    assert bench.target(second, False) is not target


def test_the_reference_is_a_copy_of_its_own(make_grid, taught_base):
    bench = Bench(make_grid())
    model = StressModel(model=str(taught_base))
    assert bench.reference(model).module is not bench.target(model, False).module


def test_the_hash_of_judges_follows_their_rules_and_counts(make_grid):
    counts = {"true_positives": 9, "false_negatives": 1, "true_negatives": 8, "false_positives": 2}
    judges = [{"kind": "keywords", "calibration": {"refused": counts}}, {"kind": "keywords", "name": "b"}]
    plain = [{"kind": "keywords"}, {"kind": "keywords", "name": "b"}]
    found = [Bench(make_grid(judges=one)).judges_hash for one in (plain, plain, judges)]
    assert found[0] == found[1] != found[2]


def test_empty_responses_have_no_direction(make_grid, monkeypatch):
    class Fake:
        def embed(self, texts):
            return np.ones((len(texts), 2), dtype=np.float32)

    bench = Bench(make_grid())
    bench.__dict__["_encoder"] = Fake()
    assert bench.embed(["a", " "]).tolist() == [[1, 1], [0, 0]]


def test_vectors_of_the_last_few_lists_are_kept(make_grid):
    asked = []

    class Fake:
        def embed(self, texts):
            asked.append(texts)
            return np.ones((len(texts), 2), dtype=np.float32)

    bench = Bench(make_grid())
    bench.__dict__["_encoder"] = Fake()
    for texts in (["base"], ["a"], ["base"], ["b"], ["base"], ["c"], ["d"], ["base"], ["e"], ["f"], ["g"], ["h"]):
        bench.embed(texts)
    assert asked.count(["base"]) == 1
    bench.embed(["base"])
    assert asked.count(["base"]) == 2
