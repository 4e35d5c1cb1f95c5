"""The server's settings in each form that something reads."""

import pytest

from elastic_inference.base.redis_server import as_arguments, as_file, server_settings, settings_of_version


def test_both_forms_of_the_settings_agree() -> None:
    settings = server_settings("768mb", 4 * 1024 * 1024)
    assert settings["proto-max-bulk-len"] == str(5 * 1024 * 1024)
    assert settings["maxmemory-clients"] == "30%"
    assert as_file(settings).splitlines()[:2] == ['save ""', "appendonly no"]
    arguments = as_arguments(settings)
    assert arguments[:2] == ["--save", ""]
    assert {"timeout 300", "maxclients 10000"} <= set(as_file(settings).splitlines())
    at = arguments.index("--client-output-buffer-limit")
    assert arguments[at + 1 : at + 9] == ["normal", "300mb", "0", "0", "pubsub", "64mb", "32mb", "20"]


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1", True),
        ("Valkey server v=10.0.0 sha=00000000:1", True),
        ("Valkey server v=8.1.4 sha=00000000:1", False),
        ("Redis server v=9.0.0 sha=00000000:1", False),
        ("", False),
    ],
)
def test_a_setting_goes_only_to_servers_that_know_it(said: str, known: bool) -> None:
    assert ("min-string-size-avoid-copy-reply" in settings_of_version(said)) is known
