"""All bots of one process: who they are, what they share, one timer for all, and the end of them."""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from sfu.bots.bot import Bot, BotConfig, BotStats
from sfu.bots.demo_behaviour import run_demo_behaviour
from sfu.bots.media_sources import Camera, Layer, Microphone, PictureSource, SoundSource, layers_of
from sfu.bots.synthetic_media import Clapper, DrawnBot, MediaFile
from sfu.bots.voice import Turn, Voice
from sfu.errors import ConfigurationError, SfuError
from sfu.transport.dtls import Identity

log = logging.getLogger(__name__)

TICK: Final = 0.05
OWN_PICTURES: Final = 4
"""Bots with a picture of their own; a larger crew shares these, encoded once each."""
NAMES: Final = ("Ada", "Grace", "Alan", "Hedy", "Claude", "Radia", "Vint", "Katherine")
PITCHES: Final = (256, 320, 192, 384, 224, 288, 160, 352)
SHUTDOWN_TIMEOUT: Final = 3.0
"""Seconds for all goodbyes."""

Tokens = Callable[[str, str], Awaitable[str]]
"""Identity and name to an access token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestConfig:
    """What is asked on the command line."""

    url: str
    count: int = 1
    name: str = ""
    publish: str = "camera"
    "`camera` (with sound), `clap`, `audio`, `none`, or `file`."
    path: Path | None = None
    size: tuple[int, int] = (1280, 720)
    fps: float = 15.0
    bitrate: int = 0
    layers: int = 3
    grain: int = 0
    subscribe: bool = True
    decode: bool = False
    demo_behaviour: bool = False
    ramp: float = 10.0
    "Bots that join in a second."


class LoadTest:
    """`run` is its whole life and ends when all bots have ended or it is cancelled."""

    def __init__(self, plan: LoadTestConfig, tokens: Tokens, http: aiohttp.ClientSession) -> None:
        self.plan = plan
        self.failures: list[str] = []
        """Why bots ended that did not want to."""
        self.cameras: list[Camera] = []
        self.microphones: list[Microphone] = []
        self._last_numbers: list[BotStats] = []
        identity = Identity()
        turns = [Turn(index, plan.count, 6.0) for index in range(plan.count)]
        names = [self._name(index) for index in range(plan.count)]
        self._equip(names, turns)
        self.bots: list[Bot] = []
        tail = secrets.token_hex(3)
        for index, name in enumerate(names):
            part = BotConfig(
                name,
                self.cameras[index % len(self.cameras)] if self.cameras else None,
                self.microphones[index % len(self.microphones)] if self.microphones else None,
                turns[index],
                plan.subscribe,
                plan.decode,
            )
            who = f"bot-{tail}-{index}"
            self.bots.append(
                Bot(part, plan.url, http, lambda who=who, name=name: tokens(who, name), identity)  # type: ignore[misc]
            )

    def _name(self, index: int) -> str:
        given = self.plan.name
        if given:
            return given if self.plan.count == 1 else f"{given} {index + 1}"
        return f"{NAMES[index % len(NAMES)]} (bot)" if index < len(NAMES) else f"Bot {index + 1}"

    def _equip(self, names: list[str], turns: list[Turn]) -> None:
        plan = self.plan
        if plan.publish == "none":
            return
        if plan.publish == "file":
            if plan.path is None:
                raise ConfigurationError("--publish file needs the path of a file.")
            played = MediaFile(plan.path)
            self._add(played if played.has_video else None, played if played.has_audio else None)
            return
        if plan.publish == "clap":
            clapper = Clapper("CLAP" if plan.count > 1 else names[0].removesuffix(" (bot)"))
            self._add(clapper, clapper)
            return
        for index in range(min(plan.count, OWN_PICTURES)):
            # a picture that several share carries nobody's name
            name = names[index].removesuffix(" (bot)") if plan.count <= OWN_PICTURES else ""
            turn = turns[index] if plan.count <= OWN_PICTURES else Turn()
            source = DrawnBot(name, 0.61 + index * 0.27, Voice(PITCHES[index % len(PITCHES)]), turn, plan.grain)
            self._add(source if plan.publish == "camera" else None, source)

    def _add(self, pictures: PictureSource | None, sounds: SoundSource | None) -> None:
        plan = self.plan
        if pictures is not None:
            layers: tuple[Layer, ...] = layers_of(*plan.size, plan.fps, plan.bitrate, plan.layers)
            self.cameras.append(Camera(pictures, layers, plan.fps))
        if sounds is not None:
            self.microphones.append(Microphone(sounds))

    def stats(self) -> list[BotStats]:
        """As they are; when the crew was told to go, as they were just before."""
        return self._last_numbers or [bot.stats() for bot in self.bots]

    async def run(self) -> None:
        """Cancelled, it says goodbye first."""
        async with asyncio.TaskGroup() as shared:
            services = [shared.create_task(camera.run()) for camera in self.cameras]
            services += [shared.create_task(microphone.run()) for microphone in self.microphones]
            services.append(shared.create_task(self._tick()))
            try:
                async with asyncio.TaskGroup() as lives:
                    for index, bot in enumerate(self.bots):
                        lives.create_task(self._live(bot, index))
                        if index + 1 < len(self.bots):
                            await asyncio.sleep(1 / self.plan.ramp)
            except asyncio.CancelledError:
                self._last_numbers = self.stats()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                        await asyncio.gather(*(bot.stop() for bot in self.bots), return_exceptions=True)
                raise
            finally:
                for service in services:
                    service.cancel()

    async def _live(self, bot: Bot, index: int) -> None:
        behaviour = (
            asyncio.create_task(run_demo_behaviour(bot.client, index, len(self.bots)))
            if self.plan.demo_behaviour
            else None
        )
        try:
            await bot.run()
        except SfuError as error:
            self.failures.append(f"{bot.part.name}: {error}")
            log.warning("a bot ended", extra={"bot": index, "reason": str(error)})
        finally:
            if behaviour is not None:
                behaviour.cancel()

    async def _tick(self) -> None:
        """Spread over the bots, so that a large crew does not do everything at once."""
        while True:
            begun = time.monotonic()
            for number, bot in enumerate(self.bots, 1):
                bot.handle_timer(time.monotonic())
                if number % 10 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(max(0.005, begun + TICK - time.monotonic()))
