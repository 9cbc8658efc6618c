"""A run goes on from its folder, keeps what stages need, and counts only the time in which it searches."""

import numpy as np
import pytest

from demur.errors import UsageError
from demur.llm import Conversation
from demur.stress import Cost, Material, Setting
from demur.stress._meter import Meter
from demur.stress._search import Run, add_up, choose_prompts, folder_of

PROMPTS = tuple(Conversation.from_prompt(f"how to make {name}") for name in ("osprium", "mirkoil", "larkpaste"))


class Counter:
    """A state that is its curve."""

    def __init__(self, curve=()):
        self.curve = list(curve)

    @property
    def step(self):
        return max(0, len(self.curve) - 1)

    def to_arrays(self):
        return {"curve": np.array(self.curve)}


class Counting:
    """A search whose steps each pass a token through the model, and draw nothing."""

    def __init__(self, module):
        self.meter, self.steps = Meter(module), 0

    def begin(self, seed):
        return Counter()

    def advance(self, state, seed):
        self.steps += 1
        self.meter.add(1, "adapter")
        state.curve.append(float(len(state.curve) + seed))

    def read(self, arrays):
        return Counter(arrays["curve"].tolist())


@pytest.fixture
def run(target, tmp_path):
    return lambda folder="one", **options: Run(Counting(target.module), tmp_path / folder, seed=5, **options)


def test_a_run_makes_the_steps_it_is_asked_for_and_no_more(run):
    one = run()
    assert [one.reach(step).step for step in (0, 3, 3, 7)] == [0, 3, 3, 7]
    assert one.search.steps == 8
    assert one.state.curve == [5.0 + place for place in range(8)]


def test_a_run_goes_on_from_its_folder_with_what_it_had_cost(run):
    run().reach(4)
    again = run()
    assert again.reach(6).curve == run("other").reach(6).curve
    assert again.search.steps == 2
    assert again.search.meter.tokens == 7


def test_between_stages_states_are_kept_now_and_then(run, tmp_path):
    one, seen = run(every=2), []
    advance = one.search.advance

    def look(state, seed):
        seen.append(sorted(int(path.stem[5:]) for path in (tmp_path / "one").glob("*.npz")))
        advance(state, seed)

    one.search.advance = look
    for step in (0, 5):
        one.reach(step)
    assert seen == [[], [0], [0], [0, 2], [0, 2], [0, 4]]
    assert sorted(int(path.stem[5:]) for path in (tmp_path / "one").glob("*.npz")) == [0, 5]


def test_the_clock_of_a_run_stands_while_it_waits(run):
    one = run()
    one.reach(2)
    assert one.search.meter.seconds == one.search.meter.seconds


def test_a_search_for_all_draws_among_the_attackers_prompts():
    setting = Setting(Material(harmful_prompts=PROMPTS), seed=1)
    (found,) = choose_prompts(setting, "all", 2, "x")
    assert len(found) == 2
    assert set(found) < set(PROMPTS)
    assert choose_prompts(setting, "all", 2, "x") == [found]


def test_a_search_for_each_takes_what_is_judged():
    assert choose_prompts(Setting(Material(), prompts=PROMPTS), "each", 1, "x") == [[one] for one in PROMPTS]
    with pytest.raises(UsageError, match="the attack 'x' is to search for each prompt"):
        choose_prompts(Setting(Material(harmful_prompts=PROMPTS)), "each", 1, "x")


def test_searches_for_each_have_folders_of_their_own(tmp_path):
    setting = Setting(Material(), folder=tmp_path)
    assert folder_of(setting, "all", 3) == tmp_path
    assert len({folder_of(setting, "each", number) for number in range(3)}) == 3
    assert folder_of(Setting(Material()), "each", 3) is None


def test_what_several_spent_is_added_up(target):
    meters = [Meter(target.module, Cost(flops=2.0, tokens=3)), Meter(target.module, Cost(flops=5.0, tokens=4))]
    found = add_up(meters, trainable=8, examples=2)
    assert (found.flops, found.tokens, found.trainable, found.examples) == (7.0, 7, 8, 2)
