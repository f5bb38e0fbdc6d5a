"""The WHEP sessions of a server by token holder, which limits them, and by resource, which counts them."""

from collections import Counter
from typing import Protocol

from sfu.auth.tokens import Claims
from sfu.errors import RateLimited
from sfu.signaling.whep_resource import WhepResource

Holder = tuple[str, str, str]


class Viewer(Protocol):
    @property
    def claims(self) -> Claims: ...

    @property
    def resource(self) -> WhepResource: ...

    def count_changed(self, count: int) -> None:
        """Another viewer of the same resource came or left."""


class WhepViewers:
    def __init__(self, per_identity: int) -> None:
        self._per_identity = per_identity
        self._by_holder: Counter[Holder] = Counter()
        self._by_resource: dict[WhepResource, dict[Viewer, None]] = {}

    def admit(self, claims: Claims) -> None:
        """Raises RateLimited."""
        if self._by_holder[_holder(claims)] >= self._per_identity:
            raise RateLimited(
                f"A token's holder can have {self._per_identity} viewers in a room.",
                code="too_many_viewers",
                retry_after=5.0,
            )

    def add(self, viewer: Viewer) -> None:
        self._by_holder[_holder(viewer.claims)] += 1
        self._by_resource.setdefault(viewer.resource, {})[viewer] = None
        self._notify(viewer.resource)

    def remove(self, viewer: Viewer) -> None:
        """Idempotent."""
        viewers = self._by_resource.get(viewer.resource, {})
        if viewer not in viewers:
            return
        del viewers[viewer]
        if not viewers:
            del self._by_resource[viewer.resource]
        holder = _holder(viewer.claims)
        self._by_holder[holder] -= 1
        if not self._by_holder[holder]:
            del self._by_holder[holder]
        self._notify(viewer.resource)

    def count(self, resource: WhepResource) -> int:
        return len(self._by_resource.get(resource, ()))

    def _notify(self, resource: WhepResource) -> None:
        viewers = self._by_resource.get(resource, {})
        for viewer in viewers:
            viewer.count_changed(len(viewers))


def _holder(claims: Claims) -> Holder:
    return claims.issuer, claims.identity, claims.video.room
