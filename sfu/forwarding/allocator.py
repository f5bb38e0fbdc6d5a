"""Allocates bandwidth: which layer of each track one subscriber gets. A pure function; its state is its last result.

Order: audio; then the screen share up to its requested size and the focused picture up to 360 lines; then the lowest layer
of every track; then one step at a time, by priority and by how coarse the picture is for its tile (LiveKit pkg/sfu starts
with the lowest layers, Jitsi's allocator with 360p of the focused picture). A track that does not fit is paused.

Against oscillation: a layer that is sent already only has to fit now; a higher one has to have fitted for 5 s. A layer
taken away for lack of budget does not return for 10 s (mediasoup), longer each time this repeats soon. A layer has to be
alive for 2 s (mediasoup) before it is preferred to another. A frozen picture is worse than all of this: the lowest layer
is paused only when it has not fitted for 2 s, because estimates often fall too far at first, and it returns sooner.

With a larger budget, the first track in this order whose layer changes gets a higher one. A track behind it may get a
lower one, because a large step may use the budget of several small ones.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from heapq import heapify, heappop, heappush
from itertools import groupby
from typing import Final, Literal, NamedTuple

from sfu.forwarding.layers import ALL_LAYERS, FILL, Size, fills

ALIVE_FOR: Final = 2.0
HOLD: Final = 10.0
HOLD_LIMIT: Final = 120.0
AGAIN: Final = 60.0
"""The hold doubles if a layer is taken away within this time after it returned, seconds."""
PATIENCE: Final = 2.0
"""Seconds that the lowest layer continues although it does not fit."""
PAUSED: Final = 2.0
"""Seconds that a paused lowest layer stays paused at least."""
PAUSED_LIMIT: Final = 10.0
"""The same at most, if it is paused again soon after it returned."""
RETURN: Final = 1.0
"""Seconds for which a paused lowest layer has to have fitted before it returns."""
SUSTAINED: Final = 5.0
"""Steps up have to fit the lowest budget of this many seconds."""
STAGE_HEIGHT: Final = 360
"""Lines of the focused picture that come before the lowest layers of other tracks."""
FLUENT: Final = 12.0
"""Frames per second below which a larger picture of a person is not worth its bandwidth."""
TOLERANCE: Final = 1.25
"""Factor by which a layer may exceed the bitrate that the operator's tier allows; encoders are not exact."""
ASSUMED_TILE: Final = 1280 * 720
"""Pixels of a tile whose size is not known."""


class Rank(IntEnum):
    """Allocation order of video tracks."""

    SCREEN = 0
    STAGE = 1
    OTHER = 2


class AllocationReason(Enum):
    """Why a track gets no better layer."""

    REQUESTED = "requested"
    "The layer fills its tile."
    BUDGET = "budget"
    "The path has no bandwidth for more."
    HOLD = "hold"
    "A better layer failed recently."
    TIER = "tier"
    "The operator's policy does not allow more."
    SETTLING = "settling"
    "A better layer has only just started."
    HIDDEN = "hidden"
    "The subscriber does not show the track."
    SILENT = "silent"
    "The publisher sends nothing."


class Layer(NamedTuple):
    """One step of a track: a simulcast encoding, or its spatial and temporal layers up to these."""

    name: str
    "The RID."
    temporal: int
    "The highest temporal layer, or `ALL_LAYERS`."
    bitrate: float
    "Bits per second, lower layers that it depends on included."
    width: int
    height: int
    fps: float = 30.0
    alive_since: float = float("-inf")
    spatial: int = ALL_LAYERS

    @property
    def key(self) -> tuple[str, int, int]:
        """Identity of the layer."""
        return self.name, self.spatial, self.temporal


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """A subscriber's request for one track. `layers` are alive and rise in bitrate and quality."""

    key: Hashable
    kind: Literal["audio", "video"]
    layers: tuple[Layer, ...] = ()
    rank: Rank = Rank.OTHER
    priority: int = 128
    width: int = 0
    height: int = 0
    "Pixels of the tile; 0 means no limit."
    fps: float = 0.0
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class LayerAllocation:
    """The decision for one track: `layer`, or paused if None."""

    layer: Layer | None
    reason: AllocationReason
    best: Layer | None = None
    "The layer without bandwidth limits."
    raised_at: float = float("-inf")
    "Time of the last step up."
    lowered_at: float = float("-inf")
    "Time when a layer was last taken away for lack of budget."
    hold: float = HOLD
    "Seconds after `lowered_at` before a step up."
    short_since: float | None = None
    "Since when the lowest layer is sent although it does not fit; None if it fits."


@dataclass(frozen=True, slots=True)
class Allocation:
    """The decisions for all tracks of one subscriber."""

    tracks: Mapping[Hashable, LayerAllocation]
    used: float
    "Bits per second of all decisions."
    step: float
    "Bits per second of the smallest step that does not fit or is not allowed yet; 0 if there is none."
    ceiling: float
    "Bits per second of all best layers."
    budget: float
    at: float
    lows: tuple[tuple[float, float], ...] = field(default=())
    "(time, lowest budget in the second after it) of the last seconds."


@dataclass(slots=True)
class _Ladder:
    request: LayerRequest
    steps: tuple[Layer, ...]
    best: Layer | None
    capped: AllocationReason
    "Why `steps` ends before `best`."
    next: Layer | None
    "The first step that is not allowed now."
    before: int | None
    "Index of the current step; −1 if paused for lack of budget; None if not known."
    previous: LayerAllocation | None
    level: int = -1


def allocate(
    requests: Sequence[LayerRequest],
    budget: float,
    previous: Allocation | None,
    now: float,
    *,
    picture: float = float("inf"),
    height: int = 0,
) -> Allocation:
    """Allocates `budget` bits per second at `now` (seconds).

    `picture` and `height`: bits per second and lines that the operator's tier allows for one picture (height 0: no limit).
    """
    sound = [request for request in requests if request.kind == "audio"]
    ladders = [
        _ladder(request, previous, now, picture, height)
        for request in sorted((d for d in requests if d.kind == "video"), key=_order)
    ]
    tracks: dict[Hashable, LayerAllocation] = {}
    audio = 0.0
    for request in sound:
        layer = request.layers[-1] if request.layers and not request.hidden else None
        reason = (
            AllocationReason.HIDDEN
            if request.hidden
            else AllocationReason.REQUESTED
            if layer
            else AllocationReason.SILENT
        )
        tracks[request.key] = LayerAllocation(layer, reason, layer)
        audio += layer.bitrate if layer else 0.0
    lows = _lows(previous, budget, now)
    now_levels = _fill(ladders, budget - audio)
    low = min(value for _, value in lows)
    secure_levels = _fill(ladders, low - audio) if low < budget else now_levels
    return_levels = secure_levels
    if any(ladder.before == -1 for ladder in ladders):
        recent = min(value for when, value in lows if now - when < 1.0 + RETURN)
        return_levels = _fill(ladders, recent - audio) if recent < budget else now_levels
    used, step, ceiling = audio, float("inf"), audio
    for ladder, most, secure, back in zip(ladders, now_levels, secure_levels, return_levels, strict=True):
        level, short_since = most, None
        if ladder.before is not None and level > ladder.before:
            level = max(ladder.before, min(secure, most))
            if level < 0 <= back:
                level = 0
        elif level < 0 and ladder.steps and ladder.before is not None and ladder.before >= 0:
            short_since = now
            if ladder.previous is not None and ladder.previous.short_since is not None:
                short_since = ladder.previous.short_since
            level = 0 if now - short_since < PATIENCE else -1
        decision = _decide(ladder, level, most, short_since, now)
        tracks[ladder.request.key] = decision
        if decision.layer is not None:
            used += decision.layer.bitrate
        if ladder.best is not None:
            ceiling += ladder.best.bitrate
        above = ladder.steps[most + 1] if most + 1 < len(ladder.steps) else ladder.next
        if above is not None:
            step = min(step, above.bitrate - (ladder.steps[most].bitrate if most >= 0 else 0.0))
    return Allocation(tracks, used, 0.0 if step == float("inf") else step, ceiling, budget, now, lows)


def _order(request: LayerRequest) -> tuple[int, int, int, str]:
    return request.rank, -request.priority, -(request.width * request.height or ASSUMED_TILE), repr(request.key)


def _lows(previous: Allocation | None, budget: float, now: float) -> tuple[tuple[float, float], ...]:
    """The lowest budget in each of the last `SUSTAINED` seconds."""
    kept = [(when, low) for when, low in previous.lows if now - when < SUSTAINED + 1.0] if previous else []
    if kept and now - kept[-1][0] < 1.0:
        kept[-1] = (kept[-1][0], min(kept[-1][1], budget))
    else:
        kept.append((now, budget))
    return tuple(kept)


def _ladder(request: LayerRequest, previous: Allocation | None, now: float, picture: float, height: int) -> _Ladder:
    decision = previous.tracks.get(request.key) if previous else None
    if request.hidden or not request.layers:
        return _Ladder(
            request,
            (),
            None,
            AllocationReason.HIDDEN if request.hidden else AllocationReason.SILENT,
            None,
            None,
            decision,
        )
    steps = _steps(request)
    useful = _useful(request, steps)
    best = useful[-1]
    before = _index(request.layers, steps, decision.layer) if decision is not None else None
    if (
        decision is not None
        and decision.layer is None
        and decision.reason in (AllocationReason.BUDGET, AllocationReason.HOLD, AllocationReason.SETTLING)
    ):
        before = -1  # paused for lack of budget
    capped = AllocationReason.REQUESTED
    allowed = useful
    limited = [
        layer
        for layer in useful
        if (not height or layer.height <= height) and layer.bitrate <= picture * TOLERANCE
    ]  # fmt: skip
    if len(limited) < len(useful):
        allowed, capped = tuple(limited) or useful[:1], AllocationReason.TIER
    settled = [i for i, layer in enumerate(allowed) if now - layer.alive_since >= ALIVE_FOR or i == before]
    if settled and settled[-1] + 1 < len(allowed):
        allowed, capped = allowed[: settled[-1] + 1], AllocationReason.SETTLING
    elif not settled:
        allowed, capped = allowed[:1], AllocationReason.SETTLING
    held = decision is not None and before is not None and now - decision.lowered_at < decision.hold
    if held and before is not None and before + 1 < len(allowed):
        allowed, capped = allowed[: before + 1], AllocationReason.HOLD
    forbidden = useful[len(allowed)] if len(allowed) < len(useful) else None
    return _Ladder(request, allowed, best, capped, forbidden, before, decision)


def _steps(request: LayerRequest) -> tuple[Layer, ...]:
    """The layers worth sending: without frame rates above the requested one, and without large pictures at low frame rates.

    A person in motion looks better small than at a low frame rate. That is not true for screen shares, and the smallest
    picture is kept in any case.
    """
    found: list[Layer] = []
    smallest = _size(request.layers[0])
    for size, group in groupby(request.layers, _size):
        same = list(group)
        if request.fps:
            enough = next((n for n, layer in enumerate(same) if layer.fps >= request.fps * FILL), len(same) - 1)
            same = same[: enough + 1]
        if size != smallest and request.rank is not Rank.SCREEN:
            same = [layer for layer in same if layer.fps >= FLUENT or layer is same[-1]]
        found += same
    return tuple(found)


def _useful(request: LayerRequest, steps: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The steps up to the first size that fills the tile."""
    filling = next((size for size in map(_size, steps) if fills(size, request.width, request.height)), None)
    if filling is None:
        return steps
    return steps[: max([index for index, layer in enumerate(steps) if _size(layer) == filling]) + 1]


def _size(layer: Layer) -> Size:
    return Size(layer.width, layer.height)


def _index(layers: tuple[Layer, ...], steps: tuple[Layer, ...], wanted: Layer | None) -> int | None:
    """Index of the step with this layer, or of the one below it; None if the layer no longer exists."""
    if wanted is None:
        return None
    for index, step in enumerate(steps):
        if step.key == wanted.key:
            return index
    now = next((layer for layer in layers if layer.key == wanted.key), None)
    if now is None:
        return None
    return max(0, sum([step.bitrate <= now.bitrate for step in steps]) - 1)


def _fill(ladders: list[_Ladder], budget: float) -> list[int]:
    """The step that each ladder reaches with this budget, −1 for none."""
    left = budget
    for ladder in ladders:
        ladder.level = -1

    def rise(ladder: _Ladder) -> bool:
        nonlocal left
        level = ladder.level + 1
        if level >= len(ladder.steps):
            return False
        cost = ladder.steps[level].bitrate - (ladder.steps[level - 1].bitrate if level else 0.0)
        if cost > left:
            return False
        left -= cost
        ladder.level = level
        return True

    for ladder in ladders:  # in their order: screen shares, then the focused picture
        if ladder.request.rank is Rank.SCREEN:
            while rise(ladder):
                pass
        elif ladder.request.rank is Rank.STAGE:
            while rise(ladder) and ladder.steps[ladder.level].height < STAGE_HEIGHT:
                pass
    for ladder in ladders:
        if ladder.level < 0:
            rise(ladder)
    waiting = [(_urgency(ladder), index) for index, ladder in enumerate(ladders) if ladder.level >= 0]
    heapify(waiting)
    while waiting:
        _, index = heappop(waiting)
        if rise(ladders[index]):
            heappush(waiting, (_urgency(ladders[index]), index))
    return [ladder.level for ladder in ladders]


def _urgency(ladder: _Ladder) -> tuple[int, float]:
    """Smaller is more urgent: by priority, then by how many tile pixels one picture pixel has to fill."""
    request, layer = ladder.request, ladder.steps[ladder.level]
    tile = request.width * request.height or ASSUMED_TILE
    return -request.priority, -tile / max(1, layer.width * layer.height) * 30.0 / max(1.0, layer.fps)


def _decide(ladder: _Ladder, level: int, most: int, short_since: float | None, now: float) -> LayerAllocation:
    previous, before = ladder.previous, ladder.before
    layer = ladder.steps[level] if level >= 0 else None
    reason = AllocationReason.REQUESTED
    if not ladder.steps:
        reason = ladder.capped
    elif layer != ladder.best:
        full = level + 1 >= len(ladder.steps)
        reason = ladder.capped if full else AllocationReason.BUDGET if most <= level else AllocationReason.SETTLING
    raised, lowered, hold = (
        (previous.raised_at, previous.lowered_at, previous.hold) if previous else (float("-inf"), float("-inf"), HOLD)
    )
    old = previous.layer if previous is not None else None
    if old is not None and layer is not None and _size(old) == _size(layer):
        pass  # only the frame rate changes: no hold
    elif before is not None and level < before and reason is AllocationReason.BUDGET:
        if level < 0:
            hold = min(PAUSED_LIMIT, 2 * hold) if now - raised < PAUSED_LIMIT else PAUSED
        else:
            hold = min(HOLD_LIMIT, 2 * hold) if now - raised < AGAIN else HOLD
        lowered = now
    elif before is not None and level > before:
        raised = now
    return LayerAllocation(layer, reason, ladder.best, raised, lowered, hold, short_since)
