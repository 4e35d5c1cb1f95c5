"""Which headers of proxies count, and what they say."""

from __future__ import annotations

import pytest

from elastic_inference.base.config import GatewaySettings, load
from elastic_inference.base.forwarded import Client, check_prefix, client_of, parse_networks
from elastic_inference.base.web_origin import is_allowed_origin, origin_of, refusal_reason
from elastic_inference.domain.errors import SettingError

TRUSTED = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])


def seen(peer: str, headers: dict[str, str | list[str]]) -> Client:
    def get_all(name: str) -> list[str]:
        value = headers.get(name, [])
        return [value] if isinstance(value, str) else value

    return client_of(peer, get_all, TRUSTED)


def test_without_headers_the_peer_is_the_client() -> None:
    assert seen("10.1.2.3", {}) == Client("10.1.2.3")


X_ALL: dict[str, str | list[str]] = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Host": "site.example:8443",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Prefix": "/ei/",
}


def test_a_trusted_proxy_is_believed_and_a_stranger_is_not() -> None:
    assert seen("10.1.2.3", X_ALL) == Client("203.0.113.9", "site.example:8443", "https", "/ei")
    for stranger in ("203.0.113.1", "192.0.2.8", "2001:db9::1", "", "unix"):
        assert seen(stranger, X_ALL) == Client(stranger, from_stranger=True)
    for peer in ("192.0.2.7", "2001:db8::1", "2001:db8::1%eth0", "::ffff:10.0.0.1"):
        assert seen(peer, X_ALL).host == "site.example:8443"


def test_what_a_client_wrote_before_the_proxy_appended_does_not_count() -> None:
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": ["6.6.6.6, 203.0.113.9"],
        "X-Forwarded-Host": ["evil.example", "site.example"],
        "X-Forwarded-Proto": "http, https",
    }
    assert seen("10.0.0.1", headers) == Client("203.0.113.9", "site.example", "https")


def test_a_chain_of_trusted_proxies_leads_to_the_client_of_the_first() -> None:
    headers: dict[str, str | list[str]] = {
        "X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.2",
        "X-Forwarded-Proto": "gopher, https, http",
        "X-Forwarded-Host": "evil.example, site.example, inner:80",
    }
    assert seen("10.0.0.1", headers) == Client("203.0.113.9", "site.example", "https")
    assert seen("10.0.0.1", {"X-Forwarded-For": "10.0.0.9, unknown"}).address == "10.0.0.1"
    assert seen("10.0.0.1", {"X-Forwarded-For": "[2001:db9::5]:4711"}).address == "2001:db9::5"
    assert seen("10.0.0.1", {"X-Forwarded-For": "203.0.113.9:4711"}).address == "203.0.113.9"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("for=203.0.113.9;host=site.example;proto=https", Client("203.0.113.9", "site.example", "https")),
        ('For="[2001:db9::1]:4711";Proto=HTTP', Client("2001:db9::1", "", "http")),
        ("for=6.6.6.6;proto=http, for=203.0.113.9;host=b;proto=https", Client("203.0.113.9", "b", "https")),
        ("for=203.0.113.9;host=a;proto=https, for=10.0.0.2;host=b", Client("203.0.113.9", "a", "https")),
        ('for="unknown";host="site.example:81"', Client("10.0.0.1", "site.example:81")),
    ],
)
def test_the_standard_header(line: str, expected: Client) -> None:
    assert seen("10.0.0.1", {"Forwarded": line}) == expected
    # A proxy that writes X-Forwarded-For may pass on what the client wrote in Forwarded.
    assert seen("10.0.0.1", {"Forwarded": line, "X-Forwarded-For": "203.0.113.77"}) == Client("203.0.113.77")


@pytest.mark.parametrize("value", ['"><script>', "/../api", "ei", "/a b", "//evil.example", "/" + "a" * 300, "/ei;x"])
def test_a_prefix_that_is_not_a_path_is_left_out(value: str) -> None:
    assert seen("10.0.0.1", {"X-Forwarded-Prefix": value}).prefix == ""
    with pytest.raises(ValueError, match="such as /ei"):
        check_prefix(value)


@pytest.mark.parametrize("line", ["", "=;=,", 'for="', "a" * 5000, ",,,,;", 'for="\\'])
def test_malformed_headers_do_not_count(line: str) -> None:
    found = seen("10.0.0.1", {"Forwarded": line, "X-Forwarded-Host": "a/b\r\n", "X-Forwarded-Proto": "ftp"})
    assert (found.host, found.scheme) == ("", "")
    assert seen("10.0.0.1", {"Forwarded": line}).address == "10.0.0.1"


def test_the_settings_are_checked() -> None:
    settings = load(GatewaySettings, {"TRUSTED_PROXIES": "10.0.0.0/8, ::1", "BASE_PATH": "/a/b/"})
    assert (settings.trusted_proxies, settings.base_path) == (("10.0.0.0/8", "::1"), "/a/b")
    assert load(GatewaySettings, {"BASE_PATH": "/"}).base_path == ""
    for name, value in (("TRUSTED_PROXIES", "nginx"), ("TRUSTED_PROXIES", "10.0.0.0/99"), ("BASE_PATH", "ei")):
        with pytest.raises(SettingError, match=name):
            load(GatewaySettings, {name: value})


def test_a_refusal_says_what_to_do() -> None:
    def reason(client: Client) -> str:
        return refusal_reason(["https://site.example"], ["127.0.0.1:5000"], client, "10.0.0.1")

    assert reason(Client("10.0.0.1", from_stranger=True)).endswith(
        "10.0.0.1 do not count: add its address to TRUSTED_PROXIES."
    )
    assert "X-Forwarded-Host" in reason(Client("10.0.0.1", host="127.0.0.1"))
    assert "ALLOWED_ORIGINS" in reason(Client("10.0.0.1"))
    forged = refusal_reason(["http://a\nERROR forged"], ["x" * 5000], Client("1.1.1.1"), "1.1.1.1")
    assert "\n" not in forged
    assert len(forged) < 500


def test_the_origin_of_a_page() -> None:
    assert origin_of("https://site.example:8443/ei/stream/a?x=1") == "https://site.example:8443"
    for text in ("", "about:client", "data:text/html,x", "http://[::1", "//site.example"):
        assert origin_of(text) == ""
    assert is_allowed_origin([origin_of("http://a.example/x")], ["a.example:80"], ())
