"""What an act costs, whatever else runs on the machine."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable


def measure(act: Callable[[], object]) -> tuple[float, int]:
    """Seconds of the processor, the lesser of two runs, as what else runs only adds to it; and the peak of bytes."""
    took = min(seconds(act), seconds(act))
    tracemalloc.start()
    act()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return took, peak


def seconds(act: Callable[[], object]) -> float:
    """Seconds of the processor."""
    began = time.process_time()
    act()
    return time.process_time() - began
