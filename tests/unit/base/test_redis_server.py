"""The server's settings in each form that something reads."""

from elastic_inference.base.redis_server import as_arguments, as_file, server_settings


def test_both_forms_say_the_same() -> None:
    settings = server_settings("768mb", 4 * 1024 * 1024)
    assert settings["proto-max-bulk-len"] == str(5 * 1024 * 1024)
    assert as_file(settings).splitlines()[:2] == ['save ""', "appendonly no"]
    arguments = as_arguments(settings)
    assert arguments[:2] == ["--save", ""]
    at = arguments.index("--client-output-buffer-limit")
    assert arguments[at + 1 : at + 5] == ["pubsub", "64mb", "32mb", "20"]
