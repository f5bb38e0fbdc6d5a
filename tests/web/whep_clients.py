"""Public WHEP client libraries from npm as one script: `whip-whep` and `@eyevinn/webrtc-player`."""

import asyncio

from tests.support.npm import bundle

PACKAGES = ("whip-whep@1.2", "@eyevinn/webrtc-player@0.13")
ENTRY = """
import { WHEPClient } from "whip-whep/whep.js";
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
Object.assign(globalThis, { WHEPClient, WebRTCPlayer });
"""


async def script() -> str:
    return await asyncio.to_thread(bundle, "whep_clients", ENTRY, PACKAGES, "iife")
