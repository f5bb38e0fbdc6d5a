"""Expiry time of the TLS certificate, for an alert before clients can no longer connect."""

from pathlib import Path

from cryptography import x509


def expires_at(path: str | Path) -> float:
    """Unix time of `notAfter` of the first certificate in a PEM file. Raises OSError, ValueError."""
    return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc.timestamp()
