"""When a certificate ends, for the alert that comes before people cannot join any more."""

from pathlib import Path

from cryptography import x509


def expires_at(path: str | Path) -> float:
    """`notAfter` of the first certificate in a PEM file, seconds since 1970. Raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc.timestamp()
