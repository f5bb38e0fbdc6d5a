from collections.abc import Callable, Iterable

from sfu.forwarding.down_track import DownTrack
from sfu.forwarding.encoding import Encoding
from sfu.forwarding.fanout import GsoBatch, SrtpEncryptor
from sfu.forwarding.packet import CodecPatch
from sfu.forwarding.peer import EnginePeer
from sfu.forwarding.peer_transport import Address, Plain, SrtpContext
from sfu.forwarding.track import Track

INTERFACE: int

def setup(
    classes: tuple[type, ...],
    words: tuple[int, ...],
    plain: Plain,
    fan_out: Callable[[Iterable[DownTrack], list[GsoBatch], SrtpEncryptor], int],
    describe: Callable[[Track, Encoding, memoryview, int, int, int], tuple[bool, CodecPatch | None]],
    word_of: Callable[[SrtpContext], int],
    protect: int,
    unprotect: int,
    /,
) -> None: ...
def fan_out(down_tracks: Iterable[DownTrack], groups: list[GsoBatch], encryptor: SrtpEncryptor, /) -> int: ...
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
