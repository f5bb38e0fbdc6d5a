"""Decides what is on air: which layout, who is on stage, whose screen is shared. Pure: `now` comes in.

Left alone it goes by what happens: a screen share becomes a presentation, one person is shown alone, two side by side,
more with the one who speaks on stage. A new speaker takes the stage when he has been the dominant one for `patience`
and the one before had it for `hold`: a cough moves nobody. What the operator chooses stands until he gives it back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sfu.mixer.layout import VISIBLE, Layout, Member, arrange
from sfu.mixer.scene import Scene, SceneTemplate

PATIENCE: Final = 0.8
HOLD: Final = 2.0


@dataclass(frozen=True, slots=True)
class Decision:
    layout: Layout
    stage: str = ""
    "Identity of who is on stage; empty: nobody is there."
    presenter: str = ""
    "Identity of whose screen is seen; empty: none."


class Director:
    """Owned by the one who ticks; `direct` is cheap and is called at every tick."""

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
        """None: automatic again. ValueError for CUSTOM, which `use_template` chooses."""
        if layout is Layout.CUSTOM:
            raise ValueError("a custom layout needs its template")
        self._chosen = layout
        self._template = None

    def use_template(self, template: SceneTemplate) -> None:
        self._template = template
        self._chosen = Layout.CUSTOM

    def pin(self, identity: str) -> None:
        """Stays on stage, whoever speaks, as long as he is there; empty: nobody is pinned."""
        self._pinned = identity

    def direct(self, members: Sequence[Member], dominant: str, now: float) -> Decision:
        """`members` in the order in which they came; `dominant`: identity of who speaks loudest, or empty."""
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
        """What the last decision looks like."""
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
        """Those who are seen when there are too many: who spoke last, then who shows a picture; in their old order."""
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
            # His screen is seen without him: he comes last, where no layout has a place left for his face.
            found.append(presenter)
        return found
