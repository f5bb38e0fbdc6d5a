"""axe-core, the usual checker of accessibility, run in a page."""

import asyncio
import fcntl
import shutil
from pathlib import Path
from typing import Any, Protocol

from playwright.async_api import Page

NODE = Path(__file__).parents[2] / "build" / "node"
SCRIPT = NODE / "node_modules" / "axe-core" / "axe.min.js"
PACKAGE = "axe-core@4.14"
AT_REST = """() => document.getAnimations().every(
    ({ effect, playState }) => playState !== 'running' || effect.getTiming().iterations === Infinity)"""


async def source() -> str:
    """Of axe-core itself, from the npm registry once. Test processes that run at the same time wait for the first."""
    NODE.mkdir(parents=True, exist_ok=True)
    with (NODE / "axe.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not SCRIPT.exists():
            npm = shutil.which("npm")
            assert npm, "the accessibility tests need npm: apt-get install npm"
            process = await asyncio.create_subprocess_exec(
                npm, "install", "--prefix", str(NODE), "--silent", "--no-audit", "--no-fund", PACKAGE
            )
            assert await process.wait() == 0
    return await asyncio.to_thread(SCRIPT.read_text)


class Inspected(Protocol):
    """A visitor whose browser Playwright controls."""

    @property
    def page(self) -> Page: ...

    async def until(self, what: str, script: str) -> Any: ...


async def findings(visitor: Inspected, axe: str) -> list[str]:
    """What is serious or critical, one line each. What is half faded in has no contrast yet, and is waited for."""
    await visitor.page.evaluate(axe)
    await visitor.until("a page at rest", AT_REST)
    violations: list[dict[str, Any]] = await visitor.page.evaluate(
        """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations.map(
            ({ id, impact, help, nodes }) => ({ id, impact, help,
                nodes: nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`) }))"""
    )
    return [
        f"{one['impact']}: {one['id']}: {one['help']}: {one['nodes'][:3]}"
        for one in violations
        if one["impact"] in ("serious", "critical")
    ]
