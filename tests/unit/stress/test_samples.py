import pytest

from demur.llm import GenerationConfig
from demur.stress._config import DistanceConfig
from demur.stress._protocol import Cost, Stage
from demur.stress._samples import NULL, null_generation, stage_generation

GREEDY, WARM = GenerationConfig(max_new_tokens=5), GenerationConfig(max_new_tokens=5, temperature=1.2, top_p=0.9)
DISTANCE = DistanceConfig(temperature=0.7)


@pytest.fixture
def stage(target):
    return Stage(target, 0, Cost())


def test_beside_greedy_answers_others_are_drawn_as_the_null_is(stage):
    null = [null_generation(GREEDY, DISTANCE, number) for number in NULL]
    own = stage_generation(stage, GREEDY, DISTANCE, 0)
    assert len({one.seed for one in (*null, own, GREEDY)}) == 4
    assert {one.model_copy(update={"seed": 0}) for one in (*null, own)} == {
        GREEDY.model_copy(update={"temperature": 0.7})
    }


def test_answers_that_were_drawn_are_compared_themselves_and_the_null_is_drawn_as_they_were(stage):
    assert stage_generation(stage, WARM, DISTANCE, 0) is None
    null = null_generation(WARM, DISTANCE, 1)
    assert (null.temperature, null.top_p) == (1.2, 0.9)


def test_a_stage_that_draws_by_itself_needs_no_further_answers(target):
    assert stage_generation(Stage(target, 0, Cost(), generation=WARM), GREEDY, DISTANCE, 0) is None


def test_nothing_is_drawn_where_distance_is_not_measured(stage):
    assert stage_generation(stage, GREEDY, DistanceConfig(enabled=False), 0) is None


def test_each_seed_draws_its_own(stage):
    first, second = (stage_generation(stage, GREEDY, DISTANCE, seed) for seed in (0, 1))
    assert first.seed != second.seed
