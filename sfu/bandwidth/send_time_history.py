"""Send times and sizes of packets by transport-wide number, kept until their feedback arrives.

The packet path only appends one tuple per batch to a bounded queue. When feedback arrives, the batches are expanded
into two rings, times and sizes. draft-holmer-rmcat-transport-wide-cc-extensions-01.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

SMALLEST: Final = 1024
"""Initial ring size: two seconds at 5 Mbit/s. The ring grows when feedback refers to older packets."""
LARGEST: Final = 8192
BATCHES: Final = 4096
"""Maximum number of unprocessed batches. Older ones are dropped and count as never sent."""


class SendTimeHistory:
    """Send times and sizes of the newest packets of one path.

    Size 0: already acknowledged, or unknown. Time 0: unknown.
    """

    __slots__ = ("_batches", "_mask", "_sizes", "_times", "next", "on_sent")

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Sequence[int], float]] = deque(maxlen=BATCHES)
        self.on_sent = self._batches.append
        """Fast variant of `sent` for the packet path: takes the arguments as one tuple and only appends it."""
        self._times = [0.0] * SMALLEST
        self._sizes = [0] * SMALLEST
        self._mask = SMALLEST - 1
        self.next = -1
        """Unwrapped number after the newest known one; −1 before the first."""

    @property
    def has_pending(self) -> bool:
        """Whether packets were sent since the last `process_batches`."""
        return bool(self._batches)

    def sent(self, first: int, sizes: Sequence[int], now: float) -> None:
        """Records packets sent together, with consecutive numbers from `first` (16 bit). Keeps a reference to `sizes`."""
        self._batches.append((first, sizes, now))

    def process_batches(self) -> int:
        """Expands the batches recorded since the last call. Returns their size in bytes."""
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
                    continue  # numbers only increase
                for number in range(max(following, following + gap - mask), following + gap):
                    times[number & mask] = 0.0  # clear entries that are one ring length old
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
        """Returns (unwrapped first number, times, sizes) of the known packets from `base` (16 bit) on.

        Removes them, so that repeated feedback finds the size 0. `base` refers to the newest matching number that was
        sent.
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
        """Marks arrived packets, so that later feedback on them is ignored."""
        sizes, mask = self._sizes, self._mask
        at = first & mask
        if all_of_them and at + len(ticks) <= mask:
            sizes[at : at + len(ticks)] = [0] * len(ticks)
            return
        for index, tick in enumerate(ticks, first):
            if tick is not None:
                sizes[index & mask] = 0

    def _grow(self, wanted: int) -> None:
        """Enlarges the ring when more packets are in flight than it holds. Packets that were already overwritten stay lost."""
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
