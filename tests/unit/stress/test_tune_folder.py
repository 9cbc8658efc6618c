import torch

from demur.stress._tune_folder import TuneFolder


def test_without_a_folder_nothing_is_kept():
    folder = TuneFolder(None, "a")
    folder.save_state(1, {}, {})
    assert folder.begin_stage(1) is None
    assert folder.state_step is None
    assert folder.stage(1) is None


def test_a_stage_counts_once_it_has_ended(tmp_path):
    folder = TuneFolder(tmp_path, "a")
    folder.begin_stage(4).mkdir(parents=True)
    assert TuneFolder(tmp_path, "a").stage(4) is None
    folder.end_stage(4, {"loss": 0.5})
    assert TuneFolder(tmp_path, "a").stage(4) == (tmp_path / "step-000004", {"loss": 0.5})


def test_a_state_takes_the_place_of_the_one_before(tmp_path):
    folder = TuneFolder(tmp_path, "a")
    for step in (1, 2):
        folder.save_state(step, {"x": torch.tensor([float(step)])}, {"seconds": step})
    again = TuneFolder(tmp_path, "a")
    tensors, notes = again.load_state()
    assert again.state_step == 2
    assert tensors["x"].item() == 2
    assert notes == {"seconds": 2}
    assert len(list(tmp_path.glob("state-*.pt"))) == 1


def test_the_folder_of_another_tuning_is_emptied(tmp_path):
    TuneFolder(tmp_path, "a").save_state(1, {}, {})
    other = TuneFolder(tmp_path, "b")
    assert other.state_step is None
    assert not list(tmp_path.glob("state-*"))


def test_a_damaged_record_is_no_record(tmp_path):
    TuneFolder(tmp_path, "a").save_state(1, {}, {})
    (tmp_path / "tuning.json").write_text("{")
    assert TuneFolder(tmp_path, "a").state_step is None
