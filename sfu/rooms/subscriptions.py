"""What one participant receives: its wishes by track, kept apart from the connection so that they outlive it.

What the room withholds is kept apart from the wishes in turn, and joins them only on the way to the connection: nobody's
wish is lost by it.
"""

from dataclasses import replace
from typing import Final

from sfu.ids import TrackId
from sfu.rooms.ports import MediaSink, SubscriptionSettings
from sfu.rooms.publication import Publication

DEFAULT_SETTINGS = SubscriptionSettings()
FOCUS_PRIORITY: Final = 255
"""The priority of what its viewer shows largest, by choice or because it speaks: that is not withheld."""


class Subscriptions:
    """Wishes and, while there is a connection, the sink that fulfils them. Every call is idempotent."""

    __slots__ = ("_sink", "_tracks", "_wishes", "_withheld", "auto_subscribe")

    def __init__(self, *, auto_subscribe: bool) -> None:
        self.auto_subscribe = auto_subscribe
        "Whether new publications are subscribed to without being asked for."
        self._sink: MediaSink | None = None
        self._tracks: dict[TrackId, Publication] = {}
        self._wishes: dict[TrackId, SubscriptionSettings] = {}
        self._withheld: set[TrackId] = set()

    def __contains__(self, track: TrackId) -> bool:
        return track in self._tracks

    def settings(self, track: TrackId) -> SubscriptionSettings:
        """The last one, kept while the track is published, subscribed to or not."""
        return self._wishes.get(track, DEFAULT_SETTINGS)

    def attach_sink(self, sink: MediaSink) -> None:
        """From now on `sink` gets everything subscribed to (again, if an earlier connection was lost)."""
        self._sink = sink
        for track, publication in self._tracks.items():
            sink.subscribe(track, publication.media, self._merged(track))

    def detach_sink(self) -> None:
        """The sink is gone; the wishes stay for the next one."""
        self._sink = None

    def clear(self) -> None:
        """Unsubscribes from everything, e.g. because the permission went."""
        for track in list(self._tracks):
            self.unsubscribe(track)

    def subscribe(self, publication: Publication, settings: SubscriptionSettings | None = None) -> None:
        """`settings` None: as it was, or no limit."""
        track = publication.id
        if settings is not None:
            self._wishes[track] = settings
        known = track in self._tracks
        self._tracks[track] = publication
        if self._sink is None:
            return
        if not known:
            self._sink.subscribe(track, publication.media, self._merged(track))
        elif settings is not None:
            self._sink.update(track, self._merged(track))

    def update(
        self,
        publication: Publication,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        priority: int | None = None,
        paused: bool | None = None,
    ) -> None:
        """Subscribes, changing of the wish only what is named."""
        old = self.settings(publication.id)
        settings = replace(
            old,
            width=old.width if width is None else width,
            height=old.height if height is None else height,
            fps=old.fps if fps is None else fps,
            priority=old.priority if priority is None else priority,
            paused=old.paused if paused is None else paused,
        )
        self.subscribe(publication, settings)

    def withhold(self, track: TrackId, withheld: bool) -> None:
        """The room does not send it now (or does again), whatever is wished."""
        if withheld == (track in self._withheld):
            return
        if withheld:
            self._withheld.add(track)
        else:
            self._withheld.remove(track)
        if track in self._tracks and self._sink is not None:
            self._sink.update(track, self._merged(track))

    def unsubscribe(self, track: TrackId) -> None:
        if self._tracks.pop(track, None) is not None and self._sink is not None:
            self._sink.unsubscribe(track)

    def forget(self, track: TrackId) -> None:
        """The publication ended."""
        self.unsubscribe(track)
        self._wishes.pop(track, None)
        self._withheld.discard(track)

    def _merged(self, track: TrackId) -> SubscriptionSettings:
        settings = self.settings(track)
        held = track in self._withheld and settings.priority < FOCUS_PRIORITY
        return replace(settings, withheld=True) if held else settings
