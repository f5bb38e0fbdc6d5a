"""Subscriptions of one participant. They outlive its subscribing connection.

Tracks that the room withholds (last-N) are stored apart from the requested settings and merged only on the way to the
connection, so the requested settings survive.
"""

from dataclasses import replace

from sfu.ids import TrackId
from sfu.rooms.ports import FOCUS_PRIORITY, MediaSink, SubscriptionSettings
from sfu.rooms.publication import Publication

DEFAULT_SETTINGS = SubscriptionSettings()


class Subscriptions:
    """Requested settings by track and, while there is a connection, its sink. Every call is idempotent."""

    __slots__ = ("_settings", "_sink", "_tracks", "_withheld", "auto_subscribe")

    def __init__(self, *, auto_subscribe: bool) -> None:
        self.auto_subscribe = auto_subscribe
        "Whether new publications are subscribed automatically."
        self._sink: MediaSink | None = None
        self._tracks: dict[TrackId, Publication] = {}
        self._settings: dict[TrackId, SubscriptionSettings] = {}
        self._withheld: set[TrackId] = set()

    def __contains__(self, track: TrackId) -> bool:
        return track in self._tracks

    def settings(self, track: TrackId) -> SubscriptionSettings:
        """The last requested settings, kept while the track is published, whether subscribed or not."""
        return self._settings.get(track, DEFAULT_SETTINGS)

    def attach_sink(self, sink: MediaSink) -> None:
        """Passes all subscriptions to `sink`, for a first connection or after a lost one."""
        self._sink = sink
        for track, publication in self._tracks.items():
            if publication.bound:
                sink.subscribe(track, publication.media, self._merged(track))

    def detach_sink(self) -> None:
        """The sink is gone; the subscriptions stay for the next one."""
        self._sink = None

    def clear(self) -> None:
        """Unsubscribes from everything, e.g. after the permission was withdrawn."""
        for track in list(self._tracks):
            self.unsubscribe(track)

    def subscribe(self, publication: Publication, settings: SubscriptionSettings | None = None) -> None:
        """`settings` None: the previous settings, or the defaults."""
        track = publication.id
        if settings is not None:
            self._settings[track] = settings
        known = track in self._tracks
        self._tracks[track] = publication
        if self._sink is None or not publication.bound:
            return
        if not known:
            self._sink.subscribe(track, publication.media, self._merged(track))
        elif settings is not None:
            self._sink.update(track, self._merged(track))

    def bind(self, publication: Publication) -> None:
        """The publisher of a restored publication sends again: passes it to the connection if it is subscribed."""
        if publication.id in self._tracks and self._sink is not None:
            self._sink.subscribe(publication.id, publication.media, self._merged(publication.id))

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
        """Subscribes and changes only the given settings."""
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
        """Withholds the track, or releases it, regardless of the requested settings."""
        if withheld == (track in self._withheld):
            return
        if withheld:
            self._withheld.add(track)
        else:
            self._withheld.remove(track)
        publication = self._tracks.get(track)
        if publication is not None and publication.bound and self._sink is not None:
            self._sink.update(track, self._merged(track))

    def unsubscribe(self, track: TrackId) -> None:
        publication = self._tracks.pop(track, None)
        if publication is not None and publication.bound and self._sink is not None:
            self._sink.unsubscribe(track)

    def forget(self, track: TrackId) -> None:
        """Discards the subscription and its settings: the publication ended."""
        self.unsubscribe(track)
        self._settings.pop(track, None)
        self._withheld.discard(track)

    def _merged(self, track: TrackId) -> SubscriptionSettings:
        settings = self.settings(track)
        held = track in self._withheld and settings.priority < FOCUS_PRIORITY
        return replace(settings, withheld=True) if held else settings
