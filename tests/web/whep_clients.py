"""Public WHEP client libraries from npm as one script: `whip-whep` and `@eyevinn/webrtc-player`."""

import asyncio
import fcntl
import shutil
from pathlib import Path

NODE = Path(__file__).parents[2] / "build" / "node"
BUNDLE = NODE / "whep_clients.js"
PACKAGES = ("whip-whep@1.2", "@eyevinn/webrtc-player@0.13", "esbuild@0.25")
ENTRY = """
import { WHEPClient } from "whip-whep/whep.js";
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
Object.assign(globalThis, { WHEPClient, WebRTCPlayer });
"""


async def _run(*command: str, given: str = "") -> None:
    process = await asyncio.create_subprocess_exec(*command, cwd=NODE, stdin=asyncio.subprocess.PIPE)
    await process.communicate(given.encode())
    assert process.returncode == 0, command


async def bundle() -> str:
    """Test processes that run at the same time wait for the first one."""
    NODE.mkdir(parents=True, exist_ok=True)
    with (NODE / "whep_clients.lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not BUNDLE.exists():
            npm = shutil.which("npm")
            assert npm, "the WHEP tests need npm: apt-get install npm"
            await _run(npm, "install", "--prefix", str(NODE), "--silent", "--no-audit", "--no-fund", *PACKAGES)
            esbuild = str(NODE / "node_modules" / ".bin" / "esbuild")
            await _run(esbuild, "--bundle", "--format=iife", "--log-level=error", f"--outfile={BUNDLE}", given=ENTRY)
    return await asyncio.to_thread(BUNDLE.read_text)
