"""axe-core, the usual checker of accessibility, run in a page."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from playwright.async_api import Page

from tests.support.npm import NODE, install

SCRIPT = NODE / "node_modules" / "axe-core" / "axe.min.js"
PACKAGE = "axe-core@4.14"
AT_REST = """() => document.getAnimations().every(
    ({ effect, playState }) => playState !== 'running' || effect.getTiming().iterations === Infinity)"""


async def source() -> str:
    """The script of axe-core."""
    await asyncio.to_thread(install, PACKAGE)
    return await asyncio.to_thread(SCRIPT.read_text)


class Inspected(Protocol):
    """A visitor whose browser Playwright controls."""

    @property
    def page(self) -> Page: ...

    async def until(self, what: str, script: str) -> Any: ...


async def findings(visitor: Inspected, axe: str, rules: Sequence[str] = ()) -> list[str]:
    """Serious and critical violations, one line each; `rules`: all by default. Waits for the end of transitions."""
    if not await visitor.page.evaluate("() => Boolean(window.axe)"):
        await visitor.page.evaluate(axe)
    await visitor.until("a page at rest", AT_REST)
    violations: list[dict[str, Any]] = await visitor.page.evaluate(
        """async (rules) => (await axe.run(document, {
            resultTypes: ['violations'], ...(rules.length && { runOnly: rules }),
        })).violations.map(({ id, impact, help, nodes }) => ({ id, impact, help,
            nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }))""",
        rules,
    )
    return [
        f"{one['impact']}: {one['id']}: {one['help']}: {one['nodes'][:3]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]
