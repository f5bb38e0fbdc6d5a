"""Chooses the layout of the mix, the participant on stage (in the main tile) and the screen share. Pure.

In automatic mode a screen share selects the presentation layout. Without one, one participant is shown alone, two side
by side, and more in the speaker layout. A new speaker takes the stage after being dominant for `patience` seconds, if
the previous one was on stage for at least `hold` seconds: a cough does not change the picture. A layout that the
operator chooses stays until the operator returns to automatic mode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sfu.mixer.layout import VISIBLE, Layout, Member, arrange
from sfu.mixer.scene import Scene, SceneTemplate

PATIENCE: Final = 0.8
"""Seconds that a participant must be the dominant speaker before taking the stage."""
HOLD: Final = 2.0
"""Seconds that a participant stays on stage at least."""


@dataclass(frozen=True, slots=True)
class Decision:
    layout: Layout
    stage: str = ""
    "Identity of the participant on stage; empty: none."
    presenter: str = ""
    "Identity of the participant whose screen is shown; empty: none."


class Director:
    """Owned by the video thread. `direct` is cheap and is called at every tick."""

    __slots__ = (
        "_candidate", "_candidate_since", "_chosen", "_pinned", "_recent", "_stage_since", "_template", "decision",
        "hold", "patience",
    )  # fmt: skip

    def __init__(self, *, patience: float = PATIENCE, hold: float = HOLD) -> None:
        self.patience = patience
        self.hold = hold
        self.decision = Decision(Layout.SINGLE)
        self._chosen: Layout | None = None
        self._template: SceneTemplate | None = None
        self._pinned = ""
        self._candidate = ""
        self._candidate_since = 0.0
        self._stage_since = float("-inf")
        self._recent: list[str] = []

    def choose(self, layout: Layout | None) -> None:
        """None returns to automatic mode. Raises ValueError for CUSTOM; call `use_template` instead."""
        if layout is Layout.CUSTOM:
            raise ValueError("a custom layout needs a template")
        self._chosen = layout
        self._template = None

    def use_template(self, template: SceneTemplate) -> None:
        self._template = template
        self._chosen = Layout.CUSTOM

    def pin(self, identity: str) -> None:
        """Keeps a participant on stage while present, regardless of who speaks; empty: unpins."""
        self._pinned = identity

    def direct(self, members: Sequence[Member], dominant: str, now: float) -> Decision:
        """`members` in join order; `dominant`: identity of the dominant speaker, or empty."""
        present = {member.identity for member in members}
        self._recent = [identity for identity in self._recent if identity in present]
        if dominant in present:
            if dominant in self._recent:
                self._recent.remove(dominant)
            self._recent.insert(0, dominant)
        stage = self._stage(members, present, dominant, now)
        sharing = [member.identity for member in members if member.screen]
        presenter = self.decision.presenter
        if presenter not in sharing:
            presenter = sharing[-1] if sharing else ""
        self.decision = Decision(self._layout(len(present), bool(presenter)), stage, presenter)
        return self.decision

    def scene(self, members: Sequence[Member], width: int, height: int) -> Scene:
        """Arranges the last decision on a canvas."""
        decision = self.decision
        shown = self._visible(members)
        return arrange(
            decision.layout,
            shown,
            width,
            height,
            stage=decision.stage,
            presenter=decision.presenter,
            template=self._template,
        )

    def _layout(self, count: int, sharing: bool) -> Layout:
        if self._chosen is not None:
            return self._chosen
        if sharing:
            return Layout.PRESENTATION
        if count <= 1:
            return Layout.SINGLE
        return Layout.GRID if count == 2 else Layout.SPEAKER

    def _stage(self, members: Sequence[Member], present: set[str], dominant: str, now: float) -> str:
        stage = self.decision.stage
        if self._pinned in present:
            wanted, at_once = self._pinned, True
        elif stage not in present:
            first = next(
                (member.identity for member in members if member.camera), members[0].identity if members else ""
            )
            wanted, at_once = dominant if dominant in present else first, True
        else:
            wanted, at_once = dominant if dominant in present else stage, False
        if wanted == stage:
            self._candidate = ""
            return stage
        if wanted != self._candidate:
            self._candidate, self._candidate_since = wanted, now
        waited = now - self._candidate_since >= self.patience and now - self._stage_since >= self.hold
        if not at_once and not waited:
            return stage
        self._candidate = ""
        self._stage_since = now
        return wanted

    def _visible(self, members: Sequence[Member]) -> list[Member]:
        """The members to show, in join order. Beyond the limit, recent speakers come first, then members with cameras."""
        limit = VISIBLE[self.decision.layout]
        sharing = self.decision.presenter
        if len(members) <= limit:
            return list(members)
        rank = {identity: index for index, identity in enumerate(self._recent)}
        order = sorted(
            members,
            key=lambda member: (
                member.identity != self.decision.stage,
                rank.get(member.identity, len(rank)),
                not member.camera,
            ),
        )
        kept = {member.identity for member in order[:limit]}
        found = [member for member in members if member.identity in kept]
        presenter = next((member for member in members if member.identity == sharing), None)
        if presenter is not None and presenter.identity not in kept:
            # Only the screen is shown: as the last member, the presenter gets no camera tile in any layout.
            found.append(presenter)
        return found
