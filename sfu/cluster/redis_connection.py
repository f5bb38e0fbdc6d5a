"""Connections to Redis: one server, Sentinel or Cluster, with AUTH and TLS (extra `redis`).

The rest of the cluster uses one method, `RedisConnection.execute`. It takes at most `TIMEOUT` seconds, and every failure
becomes Unavailable.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from sfu.cluster.ports import Unavailable
from sfu.cluster.redis_scripts import Script
from sfu.cluster.settings import Settings
from sfu.errors import ConfigurationError

TIMEOUT = 2.0
"""Seconds for a command, connecting included."""
CONNECTIONS_LIMIT = 32
"""Connections to each server."""
WAITING_LIMIT = 4_096
"""Commands that wait for a connection or for a response."""
SENTINEL_PORT, REDIS_PORT = 26_379, 6_379
SENTINEL_LOGIN = ("sentinel_username", "sentinel_password")
"""Parameters of the query of a `redis+sentinel://` URL."""


class Client(Protocol):
    """The methods of `redis.asyncio.Redis` and `RedisCluster` that the server uses."""

    def execute_command(self, *arguments: Any) -> Awaitable[Any]: ...

    def aclose(self) -> Awaitable[None]: ...


class RedisConnection:
    """`block`: seconds for which a command may block in Redis, in addition to `TIMEOUT`."""

    def __init__(self, settings: Settings, block: float = 0.0) -> None:
        """Raises ConfigurationError if the extra is not installed or the URL is wrong."""
        try:
            import redis
        except ImportError:
            raise ConfigurationError(
                "cluster.redis_url requires the extra redis: pip install 'aiosfu[redis]'."
            ) from None
        self._failures = (redis.RedisError, OSError, TimeoutError, EOFError)
        self._no_script = redis.exceptions.NoScriptError
        self._timeout = TIMEOUT + block
        self._clients = connect(settings.redis_url, settings.redis_ca, self._timeout)
        "The first one executes commands; the others ask Sentinel for the address of the master."
        self._gate = asyncio.Semaphore(CONNECTIONS_LIMIT)
        self._waiting = 0
        self.is_cluster = "+cluster:" in settings.redis_url
        self.requests = 0
        self.errors = 0

    async def execute(self, *command: str | bytes | float) -> Any:
        """Raises Unavailable."""
        if self._waiting >= WAITING_LIMIT:
            raise Unavailable("Redis has too many requests.")
        self._waiting += 1
        self.requests += 1
        try:
            async with asyncio.timeout(self._timeout), self._gate:
                return await self._clients[0].execute_command(*command)
        except self._no_script:
            raise
        except self._failures as error:
            self.errors += 1
            raise Unavailable(f"Redis does not answer ({type(error).__name__}).") from error
        finally:
            self._waiting -= 1

    async def run(self, script: Script, *arguments: str | bytes | float) -> Any:
        """Runs a script; `arguments` begin with its keys. Raises Unavailable."""
        try:
            return await self.execute("EVALSHA", script.sha, script.keys, *arguments)
        except self._no_script:
            return await self.execute("EVAL", script.source, script.keys, *arguments)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


def connect(url: str, ca: str, timeout: float) -> list[Client]:
    """Raises ConfigurationError."""
    try:
        return _connect(url, ca, timeout)
    except (ValueError, TypeError, OSError) as error:
        # The message of the original error can quote the URL, which may contain a password.
        raise ConfigurationError(f"cluster.redis_url cannot be used ({type(error).__name__}).") from None


def _connect(url: str, ca: str, timeout: float) -> list[Client]:
    import redis.asyncio
    from redis.asyncio.cluster import ClusterNode
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # The classes take their options as keywords of many types.
    library: Any = redis.asyncio
    scheme, _, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    # No retries: a caller knows better what a lost request means, and the time is bounded.
    options: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": TIMEOUT,
        "socket_keepalive": True,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
    }
    if base == "rediss" and ca:
        options["ssl_ca_certs"] = ca
    if not kind:
        return [library.Redis.from_url(url, max_connections=2 * CONNECTIONS_LIMIT, **options)]
    if base == "rediss":
        options["ssl"] = True
    credentials, _, place = rest.rpartition("@")
    username, _, password = credentials.partition(":")
    login = {"username": unquote(username) or None, "password": unquote(password) or None}
    where = urlsplit("//" + place)
    hosts = [
        _host_and_port(host, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for host in where.netloc.split(",")
    ]
    if kind == "cluster":
        nodes = [ClusterNode(*host) for host in hosts]
        cluster = library.RedisCluster(
            startup_nodes=nodes,
            max_connections=2 * CONNECTIONS_LIMIT,
            **options,
            **login,
        )
        return [cluster]
    query = parse_qs(where.query)
    sentinel_login = {name.removeprefix("sentinel_"): query[name][0] for name in SENTINEL_LOGIN if name in query}
    name, _, database = where.path.strip("/").partition("/")
    if not name:
        raise ValueError("the name of the master is missing")
    sentinel = library.Sentinel(hosts, sentinel_kwargs={**options, **sentinel_login})
    master = sentinel.master_for(name, db=int(database or 0), max_connections=2 * CONNECTIONS_LIMIT, **options, **login)
    return [master, *sentinel.sentinels]


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    parts = urlsplit("//" + text)
    if not parts.hostname:
        raise ValueError("a host is missing")
    return parts.hostname, parts.port or default
