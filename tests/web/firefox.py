"""The distribution's Firefox, driven by WebDriver BiDi, which it speaks by itself: no driver program is needed.

https://w3c.github.io/webdriver-bidi/
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.web.guest import WATCH, Visitor

START_DEADLINE = 60.0
ANSWER_DEADLINE = 60.0
PREFERENCES = {
    "app.update.auto": False,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    # A camera and a microphone that the browser makes up, given without a question.
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    # No download of codecs in the background: what the distribution brings must do.
    "media.gmp-manager.updateEnabled": False,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class Firefox(Visitor):
    """One page of Firefox, or the browser itself, whose pages are its tabs."""

    def __init__(
        self,
        name: str,
        socket: aiohttp.ClientWebSocketResponse,
        ids: Iterator[int] | None = None,
        turn: asyncio.Lock | None = None,
    ) -> None:
        self.name = name
        self.context = ""
        self._socket = socket
        self._ids = ids or count(1)
        self._turn = turn or asyncio.Lock()

    async def command(self, method: str, **parameters: object) -> Any:
        """One command and its result; what the browser tells meanwhile is not asked for."""
        async with self._turn, asyncio.timeout(ANSWER_DEADLINE):
            number = next(self._ids)
            await self._socket.send_json({"id": number, "method": method, "params": parameters})
            while True:
                answer = await self._socket.receive_json()
                if answer.get("id") == number:
                    break
        if answer["type"] == "error":
            raise RuntimeError(f"{method}: {answer['message']}")
        return answer["result"]

    async def run(self, script: str, argument: object = None) -> Any:
        outcome = await self.command(
            "script.callFunction",
            functionDeclaration=f"async (given) => JSON.stringify((await ({script})(JSON.parse(given))) ?? null)",
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self.context},
            awaitPromise=True,
        )
        if outcome["type"] == "exception":
            raise RuntimeError(outcome["exceptionDetails"]["text"])
        return json.loads(outcome["result"]["value"])

    @asynccontextmanager
    async def tab(self, name: str) -> AsyncIterator["Firefox"]:
        """A page that shares no storage with others of this browser; closed when the block is left."""
        user = (await self.command("browser.createUserContext"))["userContext"]
        page = Firefox(name, self._socket, self._ids, self._turn)
        created = await self.command("browsingContext.create", type="tab", userContext=user)
        page.context = created["context"]
        try:
            yield page
        finally:
            await self.command("browsingContext.close", context=page.context)
            await self.command("browser.removeUserContext", userContext=user)

    async def enter(self, url: str) -> None:
        """From the address to the meeting, by the lobby's own button."""
        await self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")
        await self.until("the page", "() => Boolean(window.sfu?.state.dev)")
        await self.until("the camera's picture", "() => Boolean(sfu.local.state.camera.track)")
        await self.run(
            """(name) => {
                const field = document.querySelector('[data-testid=name-input]');
                field.value = name;
                field.dispatchEvent(new InputEvent('input', { bubbles: true }));
                document.querySelector('[data-testid=join-button]').click();
            }""",
            self.name,
        )
        await self.until("the meeting", "() => sfu.state.view === 'meeting'")


@asynccontextmanager
async def firefox(program: str, profile: Path) -> AsyncIterator[Firefox]:
    """A browser with a fresh profile, without a page of its own; ended when the block is left."""
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
    process = await asyncio.create_subprocess_exec(
        *(program, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port", "0"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        port = await _port(profile / "WebDriverBiDiServer.json", process)
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0) as socket,
        ):
            browser = Firefox("Firefox", socket)
            await browser.command("session.new", capabilities={})
            watch = await asyncio.to_thread(WATCH.read_text)
            await browser.command("script.addPreloadScript", functionDeclaration=f"() => {{ {watch} }}")
            yield browser
            await browser.command("browser.close")
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _port(file: Path, process: asyncio.subprocess.Process) -> int:
    """Firefox writes into its profile where it listens."""
    async with asyncio.timeout(START_DEADLINE):
        while process.returncode is None:
            with suppress(OSError, ValueError, KeyError):
                return int(json.loads(await asyncio.to_thread(file.read_text))["ws_port"])
            await asyncio.sleep(0.1)
    raise RuntimeError(f"Firefox ended with {process.returncode}")
