from demur.serve.control import Step
from demur.serve.control._step import do_nothing


def test_a_step_needs_the_lease_unless_it_says_otherwise():
    step = Step(name="one", run=print, every_s=1)
    assert step.needs_lease
    assert step.pause is step.close is do_nothing


def test_doing_nothing_does_nothing():
    assert do_nothing() is None
