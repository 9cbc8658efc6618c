import json
from dataclasses import replace

import numpy as np
import pytest

from demur.errors import DataError
from demur.metrics import SequentialDifference
from demur.serve.experiments._streams import Streams
from demur.store import PredictionRow

EVEN = {"champion": 0.5, "challenger": 0.5}
GUARDS = [
    {"metric": "error_rate", "at_most": 0.1},
    {"metric": "flag_rate", "above_champion": 0.1},
    {"metric": "flag_rate", "at_most": 0.9},
    {"metric": "missed_threat_rate", "at_most": 0.9},
]


def answer(number, arm="champion", **values):
    defaults = {
        "request_id": f"r{number}",
        "task": "refusal",
        "model": "m",
        "version": "v",
        "label": "hard_refusal",
        "probabilities": {},
        "threat_score": 0.5,
        "is_flagged": True,
        "is_unsure": False,
        "arm": arm,
        "experiment": "e",
        "subject": f"s{number}",
    }
    return PredictionRow(**(defaults | values))


@pytest.fixture
def config(make_config):
    return make_config(guards=GUARDS, threat_labels=["hard_refusal", "soft_refusal"])


def feed(streams, rows, first=0):
    """Answers and labels of a made-up stream, the same for the same numbers."""
    for number in range(first, first + rows):
        random = np.random.default_rng(number)
        arm = ("champion", "challenger")[int(random.random() < 0.5)]
        flagged = bool(random.random() < 0.4)
        row = answer(number, arm, is_flagged=flagged, latency_ms=random.exponential(30), subject=f"s{number // 2}")
        streams.add_prediction(row)
        streams.add_labelled(row, "hard_refusal" if random.random() < 0.5 else "no_refusal")


def test_independent_arms_are_compared_by_the_test_of_differences(config):
    streams, plain = Streams(config, EVEN, is_paired=False), SequentialDifference()
    for number in range(200):
        random = np.random.default_rng(number)
        arm, truth = int(random.random() < 0.5), ("hard_refusal", "no_refusal")[int(random.random() < 0.3)]
        streams.add_labelled(answer(number, config.arms[arm]), truth)
        plain.add(arm, float(truth == "hard_refusal"))
    streams.flush()
    assert streams.tests["challenger"].test.to_json() == plain.to_json()
    assert streams.counted("champion") + streams.counted("challenger") == 200


def test_of_a_subject_only_the_first_row_counts(config):
    streams = Streams(config, EVEN, is_paired=False)
    for number in range(5):
        row = answer(number, subject="same")
        streams.add_prediction(row)
        streams.add_labelled(row, "hard_refusal")
    assert streams.rows["champion"] == 5
    assert streams.tallies["champion"]["flag_rate"] == [1, 1.0]
    assert streams.tallies["champion"]["accuracy"] == [1, 1.0]


def test_a_request_without_a_subject_is_its_own_and_its_items_count_once(config):
    streams = Streams(config, EVEN, is_paired=False)
    for number, item in ((1, 0), (1, 1), (2, 0)):
        streams.add_prediction(answer(number, subject=None, item=item))
    assert streams.tallies["champion"]["flag_rate"] == [2, 2.0]


def test_by_row_every_item_counts_once_also_with_two_labels(make_config):
    config = make_config(unit="row", threat_labels=["hard_refusal"])
    streams = Streams(config, EVEN, is_paired=False)
    for item in range(3):
        row = answer(1, item=item, subject="same")
        streams.add_prediction(row)
        for truth in ("hard_refusal", "no_refusal"):
            streams.add_labelled(row, truth)
    assert streams.tallies["champion"]["flag_rate"] == [3, 3.0]
    assert streams.tallies["champion"]["accuracy"] == [3, 3.0]
    assert streams.is_balanced


def test_a_subject_that_changed_arms_counts_for_its_first(config):
    streams = Streams(config, EVEN, is_paired=False)
    streams.add_prediction(answer(1, "champion", subject="same"))
    streams.add_prediction(answer(2, "challenger", subject="same"))
    assert streams.tallies["challenger"] == {"error_rate": [1, 0.0]}


def test_pairs_are_brought_together_in_whatever_order_they_come(config):
    streams, plain = Streams(config, EVEN, is_paired=True), SequentialDifference()
    for number in range(150):
        random = np.random.default_rng(number)
        first, second = ("hard_refusal", "no_refusal"), ("hard_refusal", "soft_refusal")
        labels = first[int(random.random() < 0.2)], second[int(random.random() < 0.3)]
        rows = [
            answer(number, "champion", label=labels[0]),
            answer(number, "challenger", label=labels[1], is_shadow=True),
        ]
        for row in rows if number % 2 else rows[::-1]:
            streams.add_labelled(row, "hard_refusal")
        plain.add_pair(*(float(label == "hard_refusal") for label in labels))
    streams.flush()
    assert streams.tests["challenger"].test.to_json() == plain.to_json()


def test_a_pair_counts_once_for_a_subject_and_needs_both_answers(config):
    streams = Streams(config, EVEN, is_paired=True)
    for number in range(3):
        streams.add_prediction(answer(number, "champion", subject="same"))
        streams.add_prediction(answer(number, "challenger", is_shadow=True, subject="same"))
    streams.add_prediction(answer(9, "champion"))
    assert streams.tallies["champion"]["flag_rate"] == [1, 1.0]
    assert streams.tallies["challenger"]["flag_rate"] == [1, 1.0]
    assert streams.rows == {"champion": 4, "challenger": 3}


def test_items_that_wait_for_a_shadow_are_not_kept_forever(config):
    streams = Streams(config, EVEN, is_paired=True)
    for number in range(1500):
        streams.add_prediction(answer(number, "champion"))
    assert len(streams.to_json()["pairs"]["plain"]) == 1000
    streams.add_prediction(answer(0, "challenger", is_shadow=True))
    streams.add_prediction(answer(1499, "challenger", is_shadow=True))
    assert streams.tallies["challenger"]["flag_rate"][0] == 1


def test_several_shadows_are_each_paired_with_the_champion(make_config):
    config = make_config(
        challengers=[{"version": "v2", "name": "two"}, {"version": "v3", "name": "three"}], threat_labels=["x"]
    )
    streams = Streams(config, {"champion": 1, "two": 1, "three": 1}, is_paired=True)
    for number in range(4):
        for arm in ("two", "champion", "three") if number < 3 else ("two", "champion"):
            streams.add_labelled(answer(number, arm, is_shadow=arm != "champion"), "hard_refusal")
    streams.flush()
    assert [streams.tests[arm].test.result().n for arm in ("two", "three")] == [4, 3]
    assert [streams.counted(arm) for arm in config.arms] == [4, 4, 3]


@pytest.mark.parametrize("is_paired", [False, True])
def test_rows_of_another_stage_or_arm_do_not_count(config, is_paired):
    streams = Streams(config, EVEN, is_paired=is_paired)
    strangers = [
        answer(1, "challenger", is_shadow=not is_paired),
        answer(2, "champion", is_shadow=True),
        answer(3, "somebody"),
        answer(4, None),
    ]
    for row in strangers:
        streams.add_prediction(row)
        streams.add_labelled(row, "hard_refusal")
    streams.add_failures("somebody", 3)
    assert streams.rows == {"champion": 0, "challenger": 0}
    assert streams.tallies == {"champion": {}, "challenger": {}}


@pytest.mark.parametrize("is_paired", [False, True])
def test_failures_are_errors_of_the_arm(config, is_paired):
    streams = Streams(config, EVEN, is_paired=is_paired)
    streams.add_failures("challenger", 40)
    streams.flush()
    assert streams.tallies["challenger"]["error_rate"] == [40, 40.0]
    assert streams.guards["challenger"][0].test.result().is_rejected


def test_an_arm_that_gets_less_than_its_share_is_noticed(config):
    fair, unfair = (Streams(config, {"champion": 0.8, "challenger": 0.2}, is_paired=False) for _ in range(2))
    generator = np.random.default_rng(2)
    for number in range(4000):
        arm = config.arms[int(generator.random() < 0.2)]
        fair.add_prediction(answer(number, arm))
        if arm == "champion" or generator.random() < 0.7:
            unfair.add_prediction(answer(number, arm))
    for one in (fair, unfair):
        one.flush()
    assert fair.is_balanced
    assert not unfair.is_balanced


def test_other_weights_change_blocks_and_shares_from_then_on(config):
    streams = Streams(config, EVEN, is_paired=False)
    streams.add_labelled(answer(1, "champion"), "hard_refusal")
    streams.set_weights("labelled", {"champion": 0.8, "challenger": 0.2})
    streams.add_labelled(answer(2, "challenger"), "hard_refusal")
    streams.flush()
    assert streams.tests["challenger"].test.result().n == 0
    assert streams.balance["challenger"].null == 0.5
    streams.set_weights("plain", {"champion": 0.8, "challenger": 0.2})
    assert streams.balance["challenger"].null == pytest.approx(0.2)


@pytest.mark.parametrize("is_paired", [False, True])
@pytest.mark.parametrize("cut", [0, 1, 137])
def test_going_on_from_a_saved_state_is_exactly_the_same(config, is_paired, cut):
    whole, first = (Streams(config, EVEN, is_paired=is_paired) for _ in range(2))
    feed(whole, 300)
    feed(first, cut)
    text = json.dumps(first.to_json(), allow_nan=False, sort_keys=True)  # as a database may sort them
    second = Streams.from_json(config, json.loads(text))
    feed(second, 300 - cut, cut)
    assert second.to_json() == whole.to_json()


def test_times_beyond_the_cap_count_as_the_cap(make_config):
    config = make_config(metric="latency_ms", latency_cap_ms=100, threat_labels=["x"])
    streams = Streams(config, EVEN, is_paired=False)
    streams.add_prediction(answer(1, latency_ms=5000.0))
    streams.add_prediction(replace(answer(2, "challenger"), latency_ms=20.0))
    streams.flush()
    assert streams.tallies["champion"]["latency_ms"] == [1, 100.0]
    assert streams.tests["challenger"].test.result().estimate == pytest.approx(-80)
    assert streams.latency["champion"].estimate() > 4900


def test_a_foreign_state_is_refused(config):
    with pytest.raises(DataError, match="the state of experiment 'new model' cannot be read"):
        Streams.from_json(config, {"weights": EVEN})
    state = Streams(config, EVEN, is_paired=False).to_json()
    del state["guards"]["challenger"][0]
    with pytest.raises(DataError, match="stop it and start a new one"):
        Streams.from_json(config, state)


def test_errors_are_shares_of_all_requests_whoever_sent_them(make_config):
    guards = [{"metric": "error_rate", "above_champion": 0.05}, {"metric": "error_rate", "at_most": 0.5}]
    config = make_config(guards=guards, threat_labels=["hard_refusal"])
    streams, random = Streams(config, EVEN, is_paired=False), np.random.default_rng(3)
    rates, sent = {"champion": 0.01, "challenger": 0.2}, {"champion": [0, 0], "challenger": [0, 0]}
    for number in range(8000):  # 20 subjects
        subject = number % 20
        arm = config.arms[subject % 2]
        has_failed = random.random() < rates[arm]
        sent[arm][0] += 1
        sent[arm][1] += has_failed
        if has_failed:
            streams.add_failures(arm, 1)
        else:
            streams.add_prediction(answer(number, arm, subject=f"s{subject}"))
    streams.flush()
    assert {arm: streams.tallies[arm]["error_rate"] for arm in rates} == sent
    above, at_most = streams.guards["challenger"]
    assert above.test.result().low > 0.05
    assert not at_most.test.result().is_rejected
    assert streams.tallies["challenger"]["flag_rate"][0] == 10


def test_errors_of_a_shadow_are_shares_of_all_items_it_should_have_judged(make_config):
    bounds = [{"above_champion": 0.05}, {"at_most": 0.5, "unit": "subject"}, {"at_most": 0.05, "unit": "subject"}]
    guards = [{"metric": "error_rate", **bound} for bound in bounds]
    config = make_config(guards=guards, threat_labels=["hard_refusal"])

    def shadow_of(rate):
        streams, random, failed = Streams(config, EVEN, is_paired=True), np.random.default_rng(3), 0
        for number in range(4000):
            subject = f"s{number % 20}"
            streams.add_prediction(answer(number, subject=subject))
            if random.random() < rate:
                streams.add_failures("challenger", 1)
                failed += 1
            else:
                streams.add_prediction(answer(number, "challenger", subject=subject, is_shadow=True))
        streams.flush()
        assert streams.tallies["challenger"]["error_rate"] == [4000, failed]
        assert streams.tallies["challenger"]["flag_rate"][0] == 20
        above, *at_most = streams.guards["challenger"]
        return above.test.result().low > 0.05, *(one.test.result().is_rejected for one in at_most)

    assert shadow_of(0.01) == (False, False, False)
    assert shadow_of(0.2) == (True, False, True)


@pytest.mark.parametrize("is_paired", [False, True])
def test_requests_without_a_subject_leave_nothing_behind(config, is_paired):
    streams = Streams(config, EVEN, is_paired=is_paired)
    for number in range(3000):
        for item in (0, 1):
            for arm in config.arms if is_paired else [config.arms[number % 2]]:
                is_shadow = is_paired and arm != "champion"
                row = answer(number, arm, subject=None, item=item, is_shadow=is_shadow)
                streams.add_prediction(row)
    assert streams.to_json()["seen"]["plain"]["n"] == 0
    counted = {arm: streams.tallies[arm]["flag_rate"][0] for arm in config.arms}
    assert counted == dict.fromkeys(config.arms, 3000 if is_paired else 1500)


@pytest.mark.parametrize("is_paired", [False, True])
def test_what_is_observed_without_a_key_is_as_if_it_had_said_nothing(config, is_paired):
    """To the last digit, also where the key spoke first of what others spoke of later; trusted labels stay."""
    random = np.random.default_rng(0)
    said = [
        (int(random.integers(60)), ("k1", "k2", "k3", None)[random.integers(4)], random.random() < 0.5)
        for _ in range(300)
    ]
    streams = Streams(config, EVEN, is_paired=is_paired)
    alone = {key: Streams(config, EVEN, is_paired=is_paired) for key in ("k1", "k2", "k3")}
    for number, key, is_threat in said:
        truth = "hard_refusal" if is_threat else "no_refusal"
        for arm in ("champion", "challenger") if is_paired else (("champion", "challenger")[number % 2],):
            row = answer(number, arm, is_shadow=is_paired and arm != "champion", is_flagged=number % 3 == 0)
            streams.add_labelled(row, truth, key)
            for left_out, one in alone.items():
                if left_out != key:
                    one.add_labelled(row, truth)
    assert len(streams.without) == 3
    assert Streams.from_json(config, streams.to_json()).to_json() == streams.to_json()
    for key, one in alone.items():
        assert streams.without[streams.keys[key][0]].to_json() == one.to_json()


def test_many_keys_are_left_out_by_groups(config):
    streams = Streams(config, EVEN, is_paired=False)
    for number in range(12):
        streams.add_labelled(answer(number), "no_refusal", f"k{number}")
    assert [group for group, _ in streams.keys.values()] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert [one.counted("champion") for one in streams.without] == [9, 9, 10, 10, 10]


def test_a_state_from_before_keys_were_told_apart_decides_nothing_by_what_it_has(config):
    streams = Streams(config, EVEN, is_paired=False)
    feed(streams, 50)
    state = {name: one for name, one in streams.to_json().items() if name not in ("keys", "without")}
    found = Streams.from_json(config, state)
    assert found.tests["challenger"].test.result() == streams.tests["challenger"].test.result()
    assert [one.counted("champion") for one in found.views("accuracy")[1:]] == [0] * 5
    assert found.views("flag_rate") == [found]
