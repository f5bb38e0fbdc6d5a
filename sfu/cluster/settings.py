"""Settings of a cluster: several worker processes on one machine, or several machines with Redis."""

import ipaddress
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from sfu.errors import ConfigurationError

SECRET_BYTES = 32
MAX_SECRETS = 8
NODE_ID_LENGTH = 128

REDIS_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    redis_url: str = field(default="", repr=False, metadata={"secret": True})
    """Redis that all nodes share (requires the extra `redis`): `redis://user:password@host:6379/0`, `rediss://…` (TLS),
    `redis+sentinel://user:password@host:26379,host:26379/master-name/0?sentinel_password=…`,
    `redis+cluster://host:6379,host:6379`; with TLS `rediss+sentinel://` and `rediss+cluster://`. Empty: none."""
    redis_ca: str = ""
    "Path of the CA certificates (PEM) of Redis; empty: those of the system."
    redis_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "sfu"
    "First part of all keys in Redis. Clusters that share a Redis have different prefixes."
    secrets: tuple[str, ...] = field(default=(), repr=False, metadata={"secret": True})
    """Secrets that all nodes share, at least 32 bytes each, separated by commas; required with Redis. The first one signs and
    encrypts, all verify and decrypt. To rotate: append the new one on all nodes, move it to the front, remove the old one."""
    node_id: str = ""
    "Name of this node, unique in the cluster and the same after a restart; empty: the host name."
    listen: str = "0.0.0.0:7883"
    "Address of the HTTP server for other nodes: `host:port`, or `unix:/path`. It runs only in a cluster."
    advertise: str = ""
    """`host:port` where other nodes reach this address, or an IP address with the port of `cluster.listen`; empty: the first
    private address of this machine."""
    directory_socket: str = ""
    "Path of the Unix socket of the parent process, which sets it for its worker processes."

    def __post_init__(self) -> None:
        if self.redis_url:
            self._check_redis_url()
        if self.redis_url and self.directory_socket:
            raise ConfigurationError(
                "cluster.redis_url and cluster.directory_socket are both set; set only one of them."
            )
        if self.enabled and not self.secrets:
            raise ConfigurationError(
                "cluster.secrets is empty; a cluster needs a shared secret. Create one with `openssl rand -base64 32`."
            )
        if len(self.secrets) > MAX_SECRETS:
            raise ConfigurationError(f"cluster.secrets has more than {MAX_SECRETS} entries.")
        for number, secret in enumerate(self.secrets, 1):
            if len(secret.encode()) < SECRET_BYTES or secret.split() != [secret]:
                raise ConfigurationError(
                    f"cluster.secrets: entry {number} is shorter than {SECRET_BYTES} bytes or contains white space. "
                    "Create one with `openssl rand -base64 32`."
                )
        if len(self.node_id) > NODE_ID_LENGTH or not self.node_id.isprintable() or not self.node_id.isascii():
            raise ConfigurationError(f"cluster.node_id must have at most {NODE_ID_LENGTH} printable ASCII characters.")
        if not self.listen.startswith("unix:/"):
            _check_address("listen", self.listen)
        if self.advertise and not is_ip_address(self.advertise):
            _check_address("advertise", self.advertise)

    @property
    def enabled(self) -> bool:
        """This process is one node of several."""
        return bool(self.redis_url or self.directory_socket)

    def _check_redis_url(self) -> None:
        """The error does not quote the URL, which may contain a password."""
        scheme, _, rest = self.redis_url.partition("://")
        if scheme not in REDIS_SCHEMES or not rest.partition("/")[0].rpartition("@")[2]:
            raise ConfigurationError(
                f"cluster.redis_url is not a URL with one of the schemes {', '.join(REDIS_SCHEMES)}."
            )


def is_ip_address(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _check_address(name: str, address: str) -> None:
    try:
        parts = urlsplit(f"tcp://{address}")
        valid = bool(parts.hostname and parts.port) and parts.netloc == address
    except ValueError:
        valid = False
    if not valid:
        raise ConfigurationError(f"cluster.{name} {address!r} is not host:port.")
