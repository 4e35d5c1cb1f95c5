"""Which `Host` headers a server without a login answers."""

from __future__ import annotations

import pytest

from elastic_inference.base import config
from elastic_inference.base.allowed_hosts import AllowedHosts, host_refusal
from elastic_inference.domain.errors import SettingError

OWN = "Edge-7.site.example"


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:31002", "192.0.2.7:5000", "[::1]", "[::1]:31002", "[fe80::1%25eth0]:5000"),
        *(
            "localhost",
            "LOCALHOST:31002",
            "localhost.",
            "edge-7",
            "edge-7.site.example:80",
            "edge-7.site.example.",
            "edge-7.local",
        ),
    ],
)
def test_addresses_and_local_names_are_allowed(host: str) -> None:
    assert AllowedHosts((), OWN).allow([host])


@pytest.mark.parametrize(
    "host",
    [
        *(
            "evil.example",
            "evil.example:31002",
            "localhost.evil.example",
            "edge-7.evil.example",
            "127.0.0.1.evil.example",
        ),
        *("", ":80", "127.1", "0x7f000001", "2130706433", "[::1", "::1]", "localhost:x", "localhost@evil.example", "*"),
        *(
            "127.0.0.1.evil.example",
            "evillocalhost",
            "other.local",
            ".local",
            "site.example",
            "127.0.0.1, evil.example",
        ),
    ],
)
def test_every_other_name_is_refused(host: str) -> None:
    assert not AllowedHosts((), OWN).allow([host])
    assert AllowedHosts(("*",), OWN).allow([host])


def test_two_hosts_are_refused_and_none_is_not_a_browser() -> None:
    assert not AllowedHosts((), OWN).allow(["localhost", "localhost"])
    assert AllowedHosts((), OWN).allow([])


def test_given_names_are_added() -> None:
    allowed = AllowedHosts(("Video.Example.org", "*.svc"), OWN)
    for host in ("video.example.org:443", "ei-gateway-server-svc.default.svc:5000", "localhost", "10.0.0.1"):
        assert allowed.allow([host]), host
    for host in ("a.video.example.org", "svc", "xsvc", "svc.evil.example"):
        assert not allowed.allow([host]), host


def test_the_reason_is_one_safe_line() -> None:
    text = host_refusal(["evil\r\nforged " + "x" * 500])
    assert text.isprintable()
    assert len(text) < 300
    assert "ALLOWED_HOSTS" in text


@pytest.mark.parametrize("value", ["http://x", "x:80", "a b", "*x", "x.*", "é.example", "x" * 300, "[::1]"])
def test_a_name_that_no_request_has_is_refused_at_start(value: str) -> None:
    for settings_class in (config.GatewaySettings, config.WebsocketSettings):
        with pytest.raises(SettingError, match=r"ALLOWED_HOSTS.*expected host names"):
            config.load(settings_class, {"ALLOWED_HOSTS": value})


def test_names_are_separated_by_commas() -> None:
    settings = config.load(config.GatewaySettings, {"ALLOWED_HOSTS": "video.example.org, *.site.example,*"})
    assert settings.allowed_hosts == ("video.example.org", "*.site.example", "*")
