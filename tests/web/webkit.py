"""Debian's WebKitGTK, driven by WebDriver on a virtual display. It is the nearest relative of Safari that runs on Linux.

https://www.w3.org/TR/webdriver2/
"""

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.web.guest import Visitor

START_DEADLINE = 60.0
ANSWER_DEADLINE = 15.0
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"Key of an element reference in WebDriver."
BROWSERS = sorted(Path("/usr/lib").glob("*/webkit2gtk-4.*/MiniBrowser"))
"WebKitGTK's example browser, which the library's own package installs."
MISSING = [name for name in ("WebKitWebDriver", "Xvfb") if shutil.which(name) is None]
needs_webkit = pytest.mark.skipif(
    bool(MISSING) or not BROWSERS, reason="WebKitGTK is not installed: apt-get install webkit2gtk-driver xvfb"
)


class Hung(Exception):
    """The browser does not answer any more."""


class WebKit(Visitor):
    """One page of WebKitGTK."""

    def __init__(self, name: str, client: aiohttp.ClientSession) -> None:
        self.name = name
        self._client = client
        self._session = ""

    async def command(self, method: str, path: str, **parameters: object) -> Any:
        """Sends one WebDriver command and returns its value."""
        body = None if method == "GET" else parameters
        try:
            async with (
                asyncio.timeout(ANSWER_DEADLINE),
                self._client.request(method, f"/session{self._session}{path}", json=body) as answer,
            ):
                value = (await answer.json())["value"]
        except TimeoutError:
            raise Hung(f"WebKitGTK did not answer {path} within {ANSWER_DEADLINE} s") from None
        if answer.status != 200:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value

    async def open(self) -> None:
        browser = {"binary": str(BROWSERS[-1]), "args": ["--automation"]}
        wanted = {"alwaysMatch": {"webkitgtk:browserOptions": browser}}
        opened = await self.command("POST", "", capabilities=wanted)
        self._session = f"/{opened['sessionId']}"
        await self.command("POST", "/timeouts", script=int(ANSWER_DEADLINE * 1000))

    async def close(self) -> None:
        await self.command("DELETE", "")

    async def visit(self, url: str) -> None:
        await self.command("POST", "/url", url=url)

    async def run(self, script: str, argument: object = None) -> Any:
        outcome = await self.command(
            "POST",
            "/execute/async",
            script=f"""
                const [given, done] = arguments;
                (async () => ({script})(JSON.parse(given)))().then(
                    (value) => done(JSON.stringify({{ value: value ?? null }})),
                    (error) => done(JSON.stringify({{ error: String(error) }})));
            """,
            args=[json.dumps(argument)],
        )
        answer = json.loads(outcome)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    async def click(self, selector: str) -> None:
        """A click that counts as a gesture of the user."""
        found = await self.command("POST", "/element", using="css selector", value=selector)
        await self.command("POST", f"/element/{found[ELEMENT]}/click")

    async def fill(self, selector: str, text: str) -> None:
        found = await self.command("POST", "/element", using="css selector", value=selector)
        await self.command("POST", f"/element/{found[ELEMENT]}/clear")
        await self.command("POST", f"/element/{found[ELEMENT]}/value", text=text)

    async def text(self) -> str:
        """All text that the page shows."""
        found: str = await self.run("() => document.body.innerText")
        return found

    async def screenshot(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = base64.b64decode(await self.command("GET", "/screenshot"))
        await asyncio.to_thread(file.write_bytes, picture)


@asynccontextmanager
async def webkit(name: str, folder: Path) -> AsyncIterator[WebKit]:
    """A browser with an empty profile in `folder`; it and its display end with the block."""
    display, lease = await _display()
    port = free_port()
    environment = {
        **os.environ,
        "DISPLAY": display,
        "HOME": str(folder),
        "XDG_RUNTIME_DIR": str(folder),
        "GDK_BACKEND": "x11",
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
    }
    driver = await asyncio.create_subprocess_exec(
        *("WebKitWebDriver", f"--port={port}"),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            await _answers(client)
            page = WebKit(name, client)
            await page.open()
            yield page
            with suppress(Hung, RuntimeError, aiohttp.ClientError):
                await page.close()
    finally:
        for process in (driver, lease):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _display() -> tuple[str, asyncio.subprocess.Process]:
    """A virtual display. Xvfb chooses a free number and reports it when the display accepts connections."""
    read, write = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *("Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"),
        pass_fds=(write,),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        number = await asyncio.wait_for(asyncio.to_thread(pipe.readline), START_DEADLINE)
    return f":{number.strip()}", process


async def _answers(client: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(START_DEADLINE):
        while True:
            with suppress(aiohttp.ClientError):
                async with client.get("/status") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
