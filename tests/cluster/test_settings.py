"""Settings of a cluster: what is refused, and that secrets are not displayed."""

import pytest

from sfu import config
from sfu.cluster.settings import Settings
from sfu.cluster_node import internal_url
from sfu.errors import ConfigurationError

SECRET = "a-secret-of-thirty-two-bytes-or-more"


def test_one_process_is_the_default() -> None:
    assert not Settings().enabled


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://user:password@10.0.0.1:6380/1",
        "redis+sentinel://s1:26379,s2:26379/sfu/0",
        "redis+cluster://r1:6379,r2:6379",
    ],
)
def test_redis_urls(url: str) -> None:
    assert Settings(redis_url=url, secrets=(SECRET,)).enabled


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"cluster.redis_url": "http://hunter2@host"}, "cluster.redis_url is not a URL"),
        ({"cluster.redis_url": "redis://"}, "cluster.redis_url is not a URL"),
        ({"cluster.redis_url": "redis://host", "cluster.secrets": ""}, "cluster.secrets is empty"),
        ({"cluster.redis_url": "redis://host", "cluster.directory_socket": "/run/a"}, "are both set"),
        ({"cluster.directory_socket": "/run/a", "cluster.secrets": ""}, "cluster.secrets is empty"),
        ({"cluster.secrets": "hunter2"}, "entry 1 is shorter than 32 bytes"),
        (
            {"cluster.secrets": f"{SECRET},{SECRET} {SECRET}"},
            "entry 2 is shorter than 32 bytes or contains white space",
        ),
        ({"cluster.secrets": ",".join([SECRET] * 9)}, "more than 8 entries"),
        ({"cluster.node_id": "a" * 129}, "cluster.node_id must have"),
        ({"cluster.node_id": "a\nb"}, "cluster.node_id must have"),
        ({"cluster.listen": "0.0.0.0"}, "cluster.listen '0.0.0.0' is not host:port"),
        ({"cluster.listen": "0.0.0.0:99999"}, "is not host:port"),
        ({"cluster.advertise": "10.0.0.1:"}, "cluster.advertise '10.0.0.1:' is not host:port"),
        ({"cluster.redis_prefix": "{a}"}, "cluster.redis_prefix"),
    ],
)
def test_refused(values: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        config.load(flags=({"cluster.secrets": SECRET} | values).items())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("address", ["0.0.0.0:7883", "[::]:7883", "localhost:1", "unix:/run/sfu/worker-1.sock"])
def test_listen_addresses(address: str) -> None:
    assert Settings(listen=address).listen == address


@pytest.mark.parametrize(
    ("advertise", "url"),
    [
        ("10.0.0.1:7900", "http://10.0.0.1:7900"),
        ("sfu-1.internal:7900", "http://sfu-1.internal:7900"),
        ("10.0.0.1", "http://10.0.0.1:7883"),
        ("fd00::1", "http://[fd00::1]:7883"),
    ],
)
def test_advertised_addresses(advertise: str, url: str) -> None:
    assert internal_url(Settings(advertise=advertise)) == url


def test_secrets_are_not_displayed() -> None:
    settings = config.load(flags=[("cluster.redis_url", "redis://:hunter2hunter2@host"), ("cluster.secrets", SECRET)])
    text = f"{settings!r} {config.shown(settings)}"
    assert "hunter2" not in text
    assert SECRET not in text
