"""Tests of the status of a model that could not be fitted: one word and one line."""

import pytest

from demur.errors import MissingDependencyError, MissingModelError, TrainingError
from demur.experiment._status import LONGEST_REASON, describe_failure, during, free_memory, is_out_of_memory


def caught(error, *where):
    """The error as it arrives from inside these places, the innermost first."""
    try:
        with during(where[0]):
            raise error
    except Exception as arrived:
        return arrived


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("the matrix\n is odd"), "failed", "ValueError: the matrix is odd"),
        (RuntimeError(), "failed", "RuntimeError"),
        (TrainingError("the loss became nan"), "failed", "the loss became nan"),
        (MissingDependencyError("install it"), "skipped", "install it"),
        (MissingModelError("no hub", "a/b"), "skipped", "no hub"),
    ],
)
def test_a_demur_error_speaks_for_itself_and_any_other_after_its_type(error, status, reason):
    assert describe_failure(error) == (status, reason)


def test_the_fit_that_failed_is_named_first():
    assert describe_failure(caught(TrainingError("the loss became nan"), "cv 2"))[1] == "cv 2: the loss became nan"


def test_what_is_not_an_exception_passes_unnoted():
    with pytest.raises(KeyboardInterrupt, match="now") as caught, during("cv 2"):
        raise KeyboardInterrupt("now")
    assert not hasattr(caught.value, "__notes__")


def test_a_long_reason_is_cut():
    assert len(describe_failure(ValueError("x" * 5000))[1]) == LONGEST_REASON


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        Exception("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_known_in_every_disguise_and_comes_with_a_remedy(error):
    assert is_out_of_memory(error)
    assert describe_failure(error)[1].endswith("take fewer rows, smaller batches or a smaller model")


def test_an_estimate_that_stops_a_training_keeps_its_own_remedy():
    error = TrainingError("it would run out of memory: 30 GB needed; lower train.batch_size")
    assert not is_out_of_memory(error)
    assert describe_failure(error) == ("failed", str(error))


def test_a_real_array_that_is_too_large_is_out_of_memory():
    import numpy as np

    with pytest.raises(MemoryError, match="Unable to allocate") as caught:
        np.empty(2**58)
    assert is_out_of_memory(caught.value)


def test_freeing_memory_needs_no_torch():
    free_memory()
