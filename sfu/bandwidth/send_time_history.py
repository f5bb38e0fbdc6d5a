"""What was sent towards one receiver, by transport-wide number, until its feedback comes.

Sending is noted per batch (one tuple into a bounded queue: that is all the packet path pays); the batches are spread into
two rings, times and sizes, when feedback asks for them. draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

SMALLEST: Final = 1024
"""Numbers remembered at first: two seconds at 5 Mbit/s. The ring grows when feedback reaches further back."""
LARGEST: Final = 8192
BATCHES: Final = 4096
"""Batches that may wait for the next look; older ones are forgotten and count as never sent."""


class SendTimeHistory:
    """Send times and sizes of the newest packets of one path. A size of 0: acknowledged already, or unknown; a time of 0:
    unknown."""

    __slots__ = ("_batches", "_mask", "_sizes", "_times", "next", "on_sent")

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Sequence[int], float]] = deque(maxlen=BATCHES)
        self.on_sent = self._batches.append
        """`sent` for the packet path: takes its arguments as one tuple and costs an append."""
        self._times = [0.0] * SMALLEST
        self._sizes = [0] * SMALLEST
        self._mask = SMALLEST - 1
        self.next = -1
        """The unwrapped number behind the newest one known; −1 before the first."""

    @property
    def has_pending(self) -> bool:
        """Whether something was sent since the last `process_batches`."""
        return bool(self._batches)

    def sent(self, first: int, sizes: Sequence[int], now: float) -> None:
        """Packets of these sizes went out together under the numbers from `first` (16 bit) on. `sizes` is kept."""
        self._batches.append((first, sizes, now))

    def process_batches(self) -> int:
        """Spreads what was noted since the last call. Returns its bytes."""
        batches = self._batches
        if not batches:
            return 0
        total = 0
        times, sizes, mask, following = self._times, self._sizes, self._mask, self.next
        if following < 0:
            following = batches[0][0] + 0x10000
        for first, batch, now in batches:
            if first != following & 0xFFFF:
                gap = (first - following) & 0xFFFF
                if gap >= 0x8000:
                    continue  # numbers only rise
                for number in range(max(following, following + gap - mask), following + gap):
                    times[number & mask] = 0.0  # not what was sent under this number a round of the ring ago
                    sizes[number & mask] = 0
                following += gap
            at = following & mask
            count = len(batch)
            if count == 1:
                times[at] = now
                size = sizes[at] = batch[0]
                total += size
                following += 1
                continue
            following += count
            total += sum(batch)
            if at + count <= mask:
                times[at : at + count] = [now] * count
                sizes[at : at + count] = batch
            else:
                for index, size in enumerate(batch, at):
                    times[index & mask] = now
                    sizes[index & mask] = size
        batches.clear()
        self.next = following
        return total

    def find(self, base: int, count: int) -> tuple[int, list[float], list[int]]:
        """Times and sizes of the numbers from `base` (16 bit) on: (unwrapped first, times, sizes), as far as known.

        They are taken out: what feedback tells a second time has the size 0. What `base` means is the newest number that
        it can be, and nothing that was never sent.
        """
        following, mask = self.next, self._mask
        if following < 0:
            return 0, [], []
        first = following - 1 - ((following - 1 - base) & 0xFFFF)
        if following - first > mask:
            self._grow(following - first)
            mask = self._mask
            if following - first > mask:
                return first, [], []
        count = min(count, following - first)
        at = first & mask
        end = at + count
        if end <= mask:
            sizes = self._sizes[at:end]
            return first, self._times[at:end], sizes
        end &= mask
        return first, self._times[at:] + self._times[:end], self._sizes[at:] + self._sizes[:end]

    def acknowledge(self, first: int, ticks: Sequence[int | None], *, all_of_them: bool) -> None:
        """These arrived: a later word about them counts nothing."""
        sizes, mask = self._sizes, self._mask
        at = first & mask
        if all_of_them and at + len(ticks) <= mask:
            sizes[at : at + len(ticks)] = [0] * len(ticks)
            return
        for index, tick in enumerate(ticks, first):
            if tick is not None:
                sizes[index & mask] = 0

    def _grow(self, wanted: int) -> None:
        """More than the ring holds is on its way: what is gone stays gone, the next time there is room."""
        size = len(self._sizes)
        if size >= LARGEST:
            return
        while size < min(2 * wanted, LARGEST):
            size *= 2
        times, sizes = [0.0] * size, [0] * size
        for number in range(max(0, self.next - self._mask), self.next):
            times[number & (size - 1)] = self._times[number & self._mask]
            sizes[number & (size - 1)] = self._sizes[number & self._mask]
        self._times, self._sizes, self._mask = times, sizes, size - 1
