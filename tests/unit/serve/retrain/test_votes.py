from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.config import parse_settings
from demur.serve.retrain import LabelsConfig, decide_labels
from demur.serve.retrain._votes import Vote, agreed_label, cap_share

NOON = datetime(2031, 5, 4, tzinfo=UTC)


def vote(label, source="user", key="app", minute=0, text="t", **values):
    return Vote(
        text=text, row=minute, label=label, source=source, at=NOON + timedelta(minutes=minute), key=key, **values
    )


def decide(*votes, critical=(), **settings):
    return decide_labels(votes, parse_settings(LabelsConfig, settings), critical)


def labels(*votes, **settings):
    return [(one.label, one.source) for one in decide(*votes, **settings).decisions]


def test_one_vote_is_a_label():
    assert labels(vote("a")) == [("a", "user")]


def test_texts_are_decided_apart():
    found = decide(vote("a", text="t"), vote("b", text="u")).decisions
    assert [(one.text, one.label) for one in found] == [("t", "a"), ("u", "b")]


def test_the_last_vote_of_a_voter_counts():
    found = decide(vote("a"), vote("b", minute=1))
    assert [one.label for one in found.decisions] == ["b"]
    assert found.facts["repeated"] == 1


def test_where_voters_differ_nothing_is_believed():
    found = decide(vote("a", key="one"), vote("b", key="two"))
    assert found.decisions == ()
    assert found.facts["contested"] == 1


def test_two_of_three_agree():
    votes = [vote("a", key="one"), vote("a", key="two"), vote("b", key="three")]
    assert labels(*votes, agreement=0.66) == [("a", "user")]
    assert labels(*votes, agreement=0.7) == []


def test_a_key_has_one_vote_however_many_subjects_speak_through_it():
    crowd = [vote("b", key="evil", subject=str(number)) for number in range(50)]
    votes = [vote("a", key="one"), vote("a", key="two"), *crowd]
    assert labels(*votes, agreement=0.66) == [("a", "user")]


def test_people_decide_against_everybody():
    votes = [vote("a", "people", key=""), vote("b", "judge", key=""), vote("b", key="one"), vote("b", key="two")]
    assert labels(*votes) == [("a", "people")]


def test_people_who_disagree_settle_nothing():
    votes = [vote("a", "people", key="ann"), vote("b", "people", key="bob"), vote("a", "judge")]
    assert labels(*votes) == []


def test_a_judge_and_users_must_say_the_same():
    assert labels(vote("a", "judge"), vote("b")) == []
    assert labels(vote("a", "judge"), vote("a")) == [("a", "judge")]


def test_sources_can_be_left_out():
    found = decide(vote("a"), vote("b", "judge"), sources=["judge"])
    assert [(one.label, one.source) for one in found.decisions] == [("b", "judge")]
    assert found.facts["ignored"] == 1


def flip(label="b", source="user", key="app", **values):
    return vote(label, source, key, served="a", probability=0.95, **values)


def test_a_flip_of_a_sure_answer_waits_for_a_second_key():
    found = decide(flip(), flip(subject="another", minute=1))
    assert found.decisions == ()
    assert found.facts["unconfirmed"] == 1
    assert labels(flip(key="one"), flip(key="two")) == [("b", "user")]


def test_a_judge_or_people_confirm_a_flip_alone():
    assert labels(flip(source="judge", key="")) == [("b", "judge")]
    assert labels(flip(), flip(source="judge", key="")) == [("b", "judge")]
    assert labels(flip(source="people", key="")) == [("b", "people")]


def test_flips_need_no_confirmation_where_that_is_switched_off():
    assert labels(flip(), confirm_flips=False) == [("b", "user")]


def test_a_flip_of_an_unsure_answer_is_none():
    assert labels(vote("b", served="a", probability=0.6)) == [("b", "user")]


def test_flips_are_counted_by_source_labels_and_key():
    found = decide(flip(text="1"), flip(text="2"), flip(text="3", source="judge", key=""), vote("a", text="4"))
    assert found.facts["flips"] == {
        "count": 3,
        "critical": 0,
        "by_source": {"judge": 1, "user": 2},
        "by_labels": {"a to b": 3},
        "by_key": [{"key": "app", "votes": 3, "flips": 2}],
    }


def test_flips_between_labels_that_must_not_be_confused_are_counted_apart():
    assert decide(flip(), critical=[("a", "b")]).facts["flips"]["critical"] == 1
    assert decide(flip(), critical=[("a", "c")]).facts["flips"]["critical"] == 0


def test_keys_with_most_flips_come_first_and_not_all_of_them():
    votes = [flip(text=f"{key}-{number}", key=f"k{key}") for key in range(15) for number in range(key + 1)]
    listed = decide(*votes).facts["flips"]["by_key"]
    assert [one["key"] for one in listed] == [f"k{key}" for key in range(14, 4, -1)]


def test_a_decision_is_of_whoever_said_it_first():
    (found,) = decide(vote("a", key="two", minute=5), vote("a", key="one", minute=1, subject="s")).decisions
    assert (found.key, found.subject, found.row) == ("one", "s", 1)


@given(st.permutations([vote("a", key="one"), vote("b", key="one", minute=1), vote("b", key="two", minute=2)]))
def test_the_order_of_votes_does_not_matter(votes):
    assert decide(*votes) == decide(*reversed(votes))


def test_equal_shares_agree_on_nothing():
    assert agreed_label([vote("a", key="one"), vote("b", key="two")], 0.51) is None


# Caps


def stays(counts, cap):
    return sum(min(count, cap) for count in counts.values())


def test_a_cap_is_no_share_of_what_was_given_but_of_what_stays():
    counts = {"evil": 1000, "one": 10, "two": 10}
    cap = cap_share(counts, 100, 0.2)
    assert cap == 30
    assert cap <= 0.2 * (100 + stays(counts, cap))


def test_whoever_has_less_is_not_cut():
    assert cap_share({"one": 10, "two": 10}, 100, 0.2) == 10


def test_without_other_rows_a_single_contributor_may_give_nothing_below_a_share_of_one():
    assert cap_share({"one": 50}, 0, 0.2) == 0
    assert cap_share({"one": 50}, 0, 1.0) == 50


def test_no_contributor_no_cap():
    assert cap_share({}, 100, 0.2) == 0


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 200), min_size=1),
    st.integers(0, 500),
    st.sampled_from([0.01, 0.05, 0.2, 0.5, 1.0]),
)
def test_the_cap_is_the_largest_that_keeps_every_share(counts, fixed, share):
    cap, most = cap_share(counts, fixed, share), max(counts.values())
    fits = [one for one in range(most + 1) if one <= share * (fixed + stays(counts, one)) + 1e-9]
    assert cap == max(fits)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_no_contributor_has_more_than_its_share_afterwards(share):
    counts = {"evil": 400, "worse": 900, "one": 30}
    cap = cap_share(counts, 300, share)
    total = 300 + stays(counts, cap)
    assert max(min(count, cap) for count in counts.values()) / total <= share
