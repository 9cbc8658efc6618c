from demur.serve.retrain._folder import RetrainFolder, Spent


def test_a_result_is_there_once_it_was_written(tmp_path):
    files = RetrainFolder(tmp_path)
    assert files.result("training") is None
    files.write_result("training", {"model": "m"})
    assert files.result("training") == {"model": "m"}


def test_a_damaged_result_is_none(tmp_path):
    files = RetrainFolder(tmp_path)
    for text in ("{", "[1]"):
        (tmp_path / "training.json").write_text(text)
        assert files.result("training") is None


def test_an_error_goes_before_the_next_attempt(tmp_path):
    files = RetrainFolder(tmp_path)
    files.write_error("training", {"reason": "r"})
    files.write_result("training", {"model": "m"})
    files.forget_error("training")
    assert files.error("training") is None
    assert files.result("training") is not None
    files.forget("training")
    assert files.result("training") is None


def test_what_a_step_has_cost_stays_until_it_is_done_anew(tmp_path):
    files = RetrainFolder(tmp_path)
    assert files.spent("training") == Spent()
    files.write_spent("training", Spent(2, 61.5))
    files.forget_error("training")
    assert RetrainFolder(tmp_path).spent("training") == Spent(2, 61.5)
    files.forget("training")
    assert files.spent("training") == Spent()


def test_a_damaged_count_is_none(tmp_path):
    for text in ("{", "[1]", "{}", '{"begun": null, "seconds": 1}'):
        (tmp_path / "training.spent.json").write_text(text)
        assert RetrainFolder(tmp_path).spent("training") == Spent()


def test_texts_and_checkpoints_go_and_results_stay(tmp_path):
    files = RetrainFolder(tmp_path)
    for path in (files.train, files.log, files.run / "models" / "m.bin", files.run / "cells" / "c.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a text of a user")
    (files.run / "results.csv").write_text("figures")
    files.write_result("training", {})
    assert files.tidy()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["results.csv", "training.json"]
    assert not files.tidy()


def test_every_file_lies_in_the_folder(tmp_path):
    files = RetrainFolder(tmp_path)
    names = ("data", "train", "extra", "recent", "golden", "run", "log", "lock")
    assert all(getattr(files, name).is_relative_to(tmp_path) for name in names)
