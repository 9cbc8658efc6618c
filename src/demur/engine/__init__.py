"""Where work runs, and what it costs there."""

from typing import TYPE_CHECKING

from demur._lazy import attach

if TYPE_CHECKING:
    from demur.engine._cost import PeakMemory as PeakMemory
    from demur.engine._cost import describe_machine as describe_machine
    from demur.engine._cost import measure_speed as measure_speed
    from demur.engine._heap import give_back_heap as give_back_heap

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "PeakMemory": "_cost",
        "describe_machine": "_cost",
        "give_back_heap": "_heap",
        "measure_speed": "_cost",
    },
)
