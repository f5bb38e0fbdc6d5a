"""Every fuzz target by the name that its corpus has."""

from collections.abc import Callable
from types import ModuleType

from tests.fuzz import machines, packets, texts


def _of(module: ModuleType) -> dict[str, Callable[[bytes], None]]:
    return {name.removeprefix("fuzz_"): call for name, call in vars(module).items() if name.startswith("fuzz_")}


TARGETS = _of(packets) | _of(machines) | _of(texts)
