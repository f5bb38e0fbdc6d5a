"""The TLS context of the HTTP listener."""

import asyncio
import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sfu.errors import ConfigurationError

log = logging.getLogger("sfu.api")


class TlsContext:
    """The server's TLS context: TLS 1.2 and 1.3, forward secrecy and AEAD only."""

    def __init__(self, certificate: str, key: str) -> None:
        """Raises ConfigurationError."""
        self._paths = (certificate, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        self.context.set_alpn_protocols(["http/1.1"])
        self.reload()

    async def renew_soon(self) -> None:
        """Reloads the certificate; for signal handlers. Reads the files in another thread, because the disk may block.

        Logs an error and keeps the old certificate if the new one is unusable.
        """
        try:
            self._use(await asyncio.to_thread(self._read))
        except ConfigurationError as error:
            log.error("certificate not renewed", extra={"reason": str(error)})
        else:
            log.info("certificate renewed")

    def reload(self) -> None:
        """Reloads the certificate for new connections. On ConfigurationError the old one stays in use."""
        self._use(self._read())

    def _read(self) -> tuple[bytes, bytes]:
        """Certificate chain and key. Raises ConfigurationError."""
        found = []
        for option, path in zip(("http.tls_certificate", "http.tls_key"), self._paths, strict=True):
            try:
                found.append(Path(path).read_bytes())
            except FileNotFoundError:
                raise ConfigurationError(f"{option} {path}: the file does not exist.") from None
            except OSError as error:
                raise ConfigurationError(f"{option} {path} cannot be read: {error.strerror}.") from None
        return found[0], found[1]

    def _use(self, files: tuple[bytes, bytes]) -> None:
        # Try a separate context first: a failure must not leave the new certificate with the old key.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            try:
                with _in_memory(files[0]) as certificate, _in_memory(files[1]) as key:
                    context.load_cert_chain(certificate, key, password="")
            except (OSError, ValueError) as error:
                reason = (
                    getattr(error, "reason", None) or getattr(error, "strerror", None) or "the key has a passphrase"
                )
                raise ConfigurationError(
                    f"http.tls_certificate and http.tls_key cannot be used together: {reason}."
                ) from None


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A path of an in-memory file with `data`, because `load_cert_chain` accepts paths only."""
    file = os.memfd_create("aiosfu-tls")
    try:
        with os.fdopen(os.dup(file), "wb") as writing:
            writing.write(data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
