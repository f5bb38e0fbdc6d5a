"""The expiry of a certificate that appears, is replaced and disappears."""

import time
from pathlib import Path

import pytest

from sfu.admin.collectors.certificate import CertificateCollector
from tests.support.certificate import self_signed
from tests.support.metrics import samples

NAME = "sfu_tls_certificate_expiry_time_seconds"


def expiry(collector: CertificateCollector) -> float | None:
    collector.sample()
    return samples(collector).get((NAME, ()))


def test_a_server_without_a_certificate_has_no_such_metric() -> None:
    assert expiry(CertificateCollector("")) is None


def test_expiry_follows_the_file(tmp_path: Path) -> None:
    collector = CertificateCollector(str(tmp_path / "certificate.pem"))
    assert expiry(collector) is None
    for days in (1, 2):
        self_signed(tmp_path, days=days)
        assert expiry(collector) == pytest.approx(time.time() + days * 86_400, abs=60)
    (tmp_path / "certificate.pem").write_text("not a certificate")
    assert expiry(collector) == pytest.approx(time.time() + 2 * 86_400, abs=60), "the last value stays"
