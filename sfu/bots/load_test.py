"""Load test: creates the bots of one process with shared media sources, drives their timers and ends them."""

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
MAX_CAMERAS: Final = 4
"""Distinct pictures; more bots than this share them. Each is encoded once."""
NAMES: Final = ("Ada", "Grace", "Alan", "Hedy", "Claude", "Radia", "Vint", "Katherine")
PITCHES: Final = (256, 320, 192, 384, 224, 288, 160, 352)
SHUTDOWN_TIMEOUT: Final = 3.0
"""Seconds for all bots to leave."""

Tokens = Callable[[str, str], Awaitable[str]]
"""Returns an access token for an identity and a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTestConfig:
    """Configuration of a load test, from the command line."""

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
    "Joins per second."


class LoadTest:
    """Runs bots inside `run`, which returns when all bots have ended."""

    def __init__(self, config: LoadTestConfig, tokens: Tokens, http: aiohttp.ClientSession) -> None:
        self.config = config
        self.failures: list[str] = []
        """Reasons of bots that ended with an error."""
        self.cameras: list[Camera] = []
        self.microphones: list[Microphone] = []
        self._final_stats: list[BotStats] = []
        identity = Identity()
        turns = [Turn(index, config.count, 6.0) for index in range(config.count)]
        names = [self._name(index) for index in range(config.count)]
        self._create_sources(names, turns)
        self.bots: list[Bot] = []
        tail = secrets.token_hex(3)
        for index, name in enumerate(names):
            bot_config = BotConfig(
                name,
                self.cameras[index % len(self.cameras)] if self.cameras else None,
                self.microphones[index % len(self.microphones)] if self.microphones else None,
                turns[index],
                config.subscribe,
                config.decode,
            )
            who = f"bot-{tail}-{index}"
            self.bots.append(
                Bot(bot_config, config.url, http, lambda who=who, name=name: tokens(who, name), identity)  # type: ignore[misc]
            )

    def _name(self, index: int) -> str:
        given = self.config.name
        if given:
            return given if self.config.count == 1 else f"{given} {index + 1}"
        return f"{NAMES[index % len(NAMES)]} (bot)" if index < len(NAMES) else f"Bot {index + 1}"

    def _create_sources(self, names: list[str], turns: list[Turn]) -> None:
        config = self.config
        if config.publish == "none":
            return
        if config.publish == "file":
            if config.path is None:
                raise ConfigurationError("--publish file requires a path.")
            played = MediaFile(config.path)
            self._add(played if played.has_video else None, played if played.has_audio else None)
            return
        if config.publish == "clap":
            clapper = Clapper("CLAP" if config.count > 1 else names[0].removesuffix(" (bot)"))
            self._add(clapper, clapper)
            return
        for index in range(min(config.count, MAX_CAMERAS)):
            # a shared picture shows no name
            name = names[index].removesuffix(" (bot)") if config.count <= MAX_CAMERAS else ""
            turn = turns[index] if config.count <= MAX_CAMERAS else Turn()
            source = DrawnBot(name, 0.61 + index * 0.27, Voice(PITCHES[index % len(PITCHES)]), turn, config.grain)
            self._add(source if config.publish == "camera" else None, source)

    def _add(self, pictures: PictureSource | None, sounds: SoundSource | None) -> None:
        config = self.config
        if pictures is not None:
            layers: tuple[Layer, ...] = layers_of(*config.size, config.fps, config.bitrate, config.layers)
            self.cameras.append(Camera(pictures, layers, config.fps))
        if sounds is not None:
            self.microphones.append(Microphone(sounds))

    def stats(self) -> list[BotStats]:
        """Statistics of all bots; after cancellation, those from just before it."""
        return self._final_stats or [bot.stats() for bot in self.bots]

    async def run(self) -> None:
        """Makes all bots leave when it is cancelled."""
        async with asyncio.TaskGroup() as shared:
            services = [shared.create_task(camera.run()) for camera in self.cameras]
            services += [shared.create_task(microphone.run()) for microphone in self.microphones]
            services.append(shared.create_task(self._tick()))
            try:
                async with asyncio.TaskGroup() as bot_tasks:
                    for index, bot in enumerate(self.bots):
                        bot_tasks.create_task(self._run_bot(bot, index))
                        if index + 1 < len(self.bots):
                            await asyncio.sleep(1 / self.config.ramp)
            except asyncio.CancelledError:
                self._final_stats = self.stats()
                with suppress(TimeoutError):
                    async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                        await asyncio.gather(*(bot.stop() for bot in self.bots), return_exceptions=True)
                raise
            finally:
                for service in services:
                    service.cancel()

    async def _run_bot(self, bot: Bot, index: int) -> None:
        behaviour = (
            asyncio.create_task(run_demo_behaviour(bot.client, index, len(self.bots)))
            if self.config.demo_behaviour
            else None
        )
        try:
            await bot.run()
        except SfuError as error:
            self.failures.append(f"{bot.config.name}: {error}")
            log.warning("bot ended", extra={"bot": index, "reason": str(error)})
        finally:
            if behaviour is not None:
                behaviour.cancel()

    async def _tick(self) -> None:
        """Calls the timers of all bots; yields to the event loop after every ten."""
        while True:
            begun = time.monotonic()
            for number, bot in enumerate(self.bots, 1):
                bot.handle_timer(time.monotonic())
                if number % 10 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(max(0.005, begun + TICK - time.monotonic()))
