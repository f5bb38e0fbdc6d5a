from collections.abc import Callable, Iterable

from sfu.forwarding.down_track import Route
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.fanout import Run, Sealer
from sfu.forwarding.packet import Special
from sfu.forwarding.peer import Address, EnginePeer, Plain, SrtpContext
from sfu.forwarding.track import Track

INTERFACE: int

def setup(
    classes: tuple[type, ...],
    words: tuple[int, ...],
    plain: Plain,
    fan_out: Callable[[Iterable[Route], list[Run], Sealer], int],
    describe: Callable[[Track, Encoding, memoryview, int, int, int], tuple[bool, Special | None]],
    word_of: Callable[[SrtpContext], int],
    protect: int,
    unprotect: int,
    /,
) -> None: ...
def fan_out(routes: Iterable[Route], groups: list[Run], sealer: Sealer, /) -> int: ...
def take(peer: EnginePeer, view: memoryview, n: int, now: float, dirty: list[Encoding], /) -> bool: ...
def drain(
    fd: int,
    limit: int,
    by_address: dict[Address, object],
    view: memoryview,
    other: Callable[[int, Address, float], None],
    receive: Callable[[EnginePeer, memoryview, int, float], None],
    dirty: list[Encoding],
    now: float,
    /,
) -> tuple[int, int, int]: ...
