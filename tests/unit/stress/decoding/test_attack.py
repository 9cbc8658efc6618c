"""The grid is every temperature with every restriction; the evaluation's length stays."""

from demur.llm import GenerationConfig
from demur.stress import Material, Setting
from demur.stress.decoding import DecodingAttack, DecodingConfig

OWN = GenerationConfig(max_new_tokens=7, batch_size=3, top_k=5, seed=11)


def stages(target, seed=2, **values):
    return list(DecodingAttack(DecodingConfig(**values)).stages(target, Setting(Material(), seed, generation=OWN)))


def test_each_temperature_comes_alone_and_with_each_restriction(target):
    found = stages(target, temperatures=(1.0, 0.7), top_p=(0.9, 0.5), top_k=(10,), best_of=())
    assert [stage.label for stage in found] == [
        f"temperature={warm}{rest}"
        for warm in ("0.7", "1")
        for rest in ("", ",top_p=0.9", ",top_p=0.5", ",top_k=10")
    ]
    assert {(one.generation.temperature, one.generation.top_p, one.generation.top_k) for one in found} == {
        (warm, share, count) for warm in (0.7, 1.0) for share, count in ((1.0, 0), (0.9, 0), (0.5, 0), (1.0, 10))
    }


def test_what_the_attack_does_not_change_is_the_evaluations_own(target):
    for stage in stages(target):
        assert (stage.generation.max_new_tokens, stage.generation.batch_size) == (7, 3)
        assert stage.generation.seed == 2


def test_several_tries_come_last_and_are_counted(target):
    found = stages(target, best_of=(8, 2), best_of_temperature=1.2)
    assert [(one.tries, one.cost.queries) for one in found[-2:]] == [(2, 2), (8, 8)]
    assert [one.generation.temperature for one in found[-2:]] == [1.2, 1.2]
    assert {one.tries for one in found[:-2]} == {1}


def test_answers_are_drawn_anew_for_another_seed(target, prompts):
    def ask(seed):
        stage = stages(target, seed=seed, temperatures=(1.5,), top_p=(), top_k=(), best_of=())[0]
        return [reply.token_ids for reply in target.generate(prompts, stage.generation)]

    assert ask(1) == ask(1)
    assert ask(1) != ask(3)
