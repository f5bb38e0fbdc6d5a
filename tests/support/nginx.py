"""nginx as a reverse proxy on a free port, in a process of its own."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.ports import free_port

PATH = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{
    listen 127.0.0.1:{port};
    location {prefix}/ {{
      proxy_pass http://127.0.0.1:{upstream}{target};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffering off;
      proxy_read_timeout 60s;
    }}
  }}
}}
"""


@asynccontextmanager
async def proxied(upstream: int, prefix: str, *, strip: bool) -> AsyncIterator[tuple[str, Path]]:
    """Origin of a proxy that serves `upstream` below `prefix`, and its access log. Everything else is 404."""
    assert PATH
    with tempfile.TemporaryDirectory(prefix="nginx-") as folder:
        port = free_port()
        path = Path(folder) / "nginx.conf"
        path.write_text(
            CONFIGURATION.format(
                folder=folder, port=port, prefix=prefix, upstream=upstream, target="/" if strip else ""
            )
        )
        process = await asyncio.create_subprocess_exec(
            PATH, "-p", folder, "-c", str(path), "-e", f"{folder}/error.log", env={**os.environ}
        )
        try:
            async with asyncio.timeout(10):
                while True:
                    assert process.returncode is None, _read(Path(folder, "error.log"))
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", port)
                    except OSError:
                        await asyncio.sleep(0.02)
                        continue
                    writer.close()
                    break
            yield f"http://127.0.0.1:{port}", Path(folder, "access.log")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def _read(path: Path) -> str:
    return path.read_text()
