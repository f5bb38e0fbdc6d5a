"""Deterministic cost of a call: bytecode instructions executed in the code of the server and of aiortc.

A count does not depend on the load of the machine, so that a test can bound it. CPython 3.11 executes 150 to 300
instructions per microsecond on the machine of the benchmarks. A built-in function counts as one instruction whatever it
does, so `make fuzz-cost` confirms each count by CPU time.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import aiortc

import sfu

ROOTS = tuple(f"{package.__path__[0]}/" for package in (sfu, aiortc))
PER_MICROSECOND = 100
"""Instructions. The value is low, so that a bound in instructions also holds in time on a slower machine."""


def operations(call: Callable[[], object], *, raises: type[Exception] | tuple[type[Exception], ...] = ()) -> int:
    """Instructions that `call` executes; exceptions of `raises` end it and are not passed on."""
    count = 0

    def each(frame: FrameType, event: str, argument: object) -> object:
        nonlocal count
        if event == "opcode":
            count += 1
        return each

    def entered(frame: FrameType, event: str, argument: object) -> object:
        if not frame.f_code.co_filename.startswith(ROOTS):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return each

    before = sys.gettrace()
    sys.settrace(entered)  # type: ignore[arg-type]  # a trace function that returns itself
    try:
        with suppress(*(raises if isinstance(raises, tuple) else (raises,))):
            call()
    finally:
        sys.settrace(before)
    return count
