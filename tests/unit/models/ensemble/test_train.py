import numpy as np
import pytest

from demur.data import Records, Split, cross_validate
from demur.errors import LabelError, MissingDependencyError, TrainingError
from demur.models.ensemble import EnsembleConfig, _train
from demur.models.ensemble._train import Trainer, new_members, split_inner
from demur.tasks import JAILBREAK, REFUSAL


def trainer(method="stacking", folds=5, checkpoints=None, companions=None):
    config = EnsembleConfig(members=["tfidf_nb", "tfidf_logreg"], method=method, folds=folds)
    return Trainer(config, REFUSAL, 0, checkpoints, companions or {})


def test_members_never_see_the_groups_they_judge(spies, grouped):
    trainer().fit_folds(grouped())
    judged = [entry for entry in spies if "judged" in entry]
    assert len(judged) == 10
    assert all(entry["seen"] == set() for entry in judged)


def test_every_row_is_judged_once_by_each_member_and_in_order(spies, grouped):
    rows = grouped()
    found = trainer().fit_folds(rows)
    np.testing.assert_array_equal(found.y, rows.targets(REFUSAL))
    np.testing.assert_array_equal(found.groups, rows.groups())
    assert found.probabilities.shape == (2, 90, 3)
    for split in cross_validate(rows, REFUSAL, 5, 0):
        share = np.bincount(rows.take(split.train).targets(REFUSAL), minlength=3) / len(split.train)
        np.testing.assert_allclose(found.probabilities[0, split.test], np.tile(share, (len(split.test), 1)))


def test_a_member_that_stops_early_watches_other_groups_than_it_learns_from(spies, grouped):
    trainer().fit_folds(grouped())
    trainer().fit_members(grouped(), None)
    watching = [entry for entry in spies if entry["spy"].watches and "learned" in entry]
    assert len(watching) == 6
    assert all(entry["watched"] and not entry["watched"] & entry["learned"] for entry in watching)
    assert not any(entry["watched"] for entry in spies if "learned" in entry and not entry["spy"].watches)


def test_all_members_answer_having_learned_from_all_rows(spies, grouped):
    first, second = trainer().fit_members(grouped(), None)
    assert len(first.learned) == 30
    assert len(second.learned | second.watched) == 30


def test_given_validation_rows_are_watched_instead(spies, grouped):
    valid = grouped(n=120).take(range(90, 120))
    _, second = trainer().fit_members(grouped(), valid)
    assert (len(second.learned), second.watched) == (30, {f"g{number}" for number in range(30, 40)})


def test_a_fold_that_leaves_one_class_is_left_out(spies, grouped, monkeypatch):
    """Apart from the first two groups all rows are of one class: who does not see them learns nothing."""
    labels = ["no_refusal", "hard_refusal", "hard_refusal"] * 2 + ["no_refusal"] * 24
    rows, at = grouped(n=30).with_column("refusal", labels), np.arange(30)
    splits = [Split("cv", at[6:], at[:6]), Split("cv", at[:3], at[3:])]
    monkeypatch.setattr(_train, "cross_validate", lambda *given: splits)
    found = trainer(folds=2).fit_folds(rows)
    np.testing.assert_array_equal(found.y, rows.targets(REFUSAL)[3:])


def test_rows_of_one_group_allow_no_folds(grouped):
    with pytest.raises(
        TrainingError, match=r"'stacking' needs training rows of at least two groups.*method: soft"
    ):
        trainer().fit_folds(grouped(n=12, size=12))


def test_folds_that_all_leave_one_class_are_said(grouped):
    rows = grouped(n=6).with_column("refusal", ["no_refusal"] * 3 + ["hard_refusal"] * 3)
    with pytest.raises(TrainingError, match="the folds of these 6 rows leave one class"):
        trainer().fit_folds(rows)


def test_a_members_fault_names_the_member(spies, grouped, monkeypatch):
    def fail(self, train, targets, valid):
        raise LabelError("no good") if self.number == 1 else AssertionError

    monkeypatch.setattr(type(_train.new_members(trainer().config, REFUSAL, 0)[0]), "_fit", fail)
    members = _train.new_members
    monkeypatch.setattr(_train, "new_members", lambda *given: members(*given)[1:] * 2)
    with pytest.raises(TrainingError, match=r"member 1 \('tfidf_nb'\): no good"):
        trainer().fit_members(grouped(), None)


def test_a_missing_library_stays_one(spies, grouped, monkeypatch):
    def fail(self, train, targets, valid):
        raise MissingDependencyError("torch is not there")

    monkeypatch.setattr(type(_train.new_members(trainer().config, REFUSAL, 0)[0]), "_fit", fail)
    with pytest.raises(MissingDependencyError, match="torch is not there"):
        trainer().fit_members(grouped(), None)


def test_a_killed_fit_goes_on_with_the_folds_it_had(spies, grouped, tmp_path):
    rows = grouped()
    whole = trainer(checkpoints=tmp_path / "one").fit_folds(rows)
    before = sum("learned" in entry for entry in spies)
    kept = sorted((tmp_path / "one").glob("*.npy"))
    assert len(kept) == before == 10
    for path in kept[:3]:
        path.unlink()
    again = trainer(checkpoints=tmp_path / "one").fit_folds(rows)
    assert sum("learned" in entry for entry in spies) - before == 3
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)


def test_folds_of_other_rows_are_not_taken_up(spies, grouped, tmp_path):
    trainer(checkpoints=tmp_path).fit_folds(grouped())
    before = len(spies)
    trainer(checkpoints=tmp_path).fit_folds(grouped(n=60))
    assert sum("learned" in entry for entry in spies[before:]) == 10


def test_each_member_has_a_folder_for_its_checkpoints(spies, grouped, tmp_path):
    trainer(checkpoints=tmp_path).fit_folds(grouped())
    trainer(checkpoints=tmp_path).fit_members(grouped(), None)
    folders = [entry["spy"].checkpoint_folder for entry in spies if "learned" in entry]
    assert len(set(folders)) == len(folders) == 12


def test_companions_of_held_out_groups_and_prompts_are_held_out_too(spies, grouped):
    rows = grouped()
    other = Records(rows.frame.rename({"refusal": "jailbreak"}).drop("group"))
    same_group = Records(rows.frame.rename({"refusal": "jailbreak"}).with_columns(prompt=other.frame["id"]))
    for companion in (other, same_group):
        spies.clear()
        trainer(companions={"jailbreak": (JAILBREAK, companion)}).fit_folds(rows)
        judged = [entry for entry in spies if "judged" in entry]
        for entry in judged:
            _, kept = entry["spy"].companions["jailbreak"]
            assert 0 < len(kept) < 90
            held = entry["judged"]
            prompts = {f"what of {group[1:]}" for group in held}
            assert not held & set(kept.column("group"))
            assert not prompts & set(kept.texts("prompt"))


def test_all_companions_are_there_for_the_fit_on_all_rows(spies, grouped):
    rows = grouped()
    first, _ = trainer(companions={"jailbreak": (JAILBREAK, rows)}).fit_members(rows, None)
    assert len(first.companions["jailbreak"][1]) == 90


def test_folds_learned_beside_other_companions_are_not_taken_up(spies, grouped, tmp_path):
    for rows in (grouped(n=60), grouped(n=90)):
        spies.clear()
        trainer(checkpoints=tmp_path, companions={"jailbreak": (JAILBREAK, rows)}).fit_folds(grouped())
        assert sum("learned" in entry for entry in spies) == 10


def test_a_member_of_one_task_is_given_no_companions(grouped):
    members = trainer(companions={"jailbreak": (JAILBREAK, grouped())}).fit_members(grouped(), None)
    assert [member.companions for member in members] == [{}, {}]


def test_too_few_groups_or_classes_leave_nothing_to_watch(grouped):
    assert split_inner(grouped(n=9, size=9), REFUSAL, 0)[1] is None
    lone = grouped(n=6).with_column("refusal", ["no_refusal"] * 3 + ["hard_refusal"] * 3)
    assert split_inner(lone, REFUSAL, 0)[1] is None


def test_members_are_of_their_family_with_their_settings():
    first, second = new_members(trainer().config, REFUSAL, 7)
    assert (first.config.head, second.config.head, first.seed, second.seed) == ("nb", "logreg", 7, 7)
