"""`-h` of every service's console command."""

from __future__ import annotations

import sys
from functools import partial

import pytest

from elastic_inference.base.config import SERVICES
from elastic_inference.commands import services

COMMANDS = {name: each for name, each in vars(services).items() if isinstance(each, partial)}


def test_every_service_has_a_command() -> None:
    assert len(COMMANDS) == len(SERVICES)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_help_lists_the_variables_and_starts_nothing(
    command: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(command)
    monkeypatch.setattr(sys, "argv", ["ei-service", "-h"])
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "QUEUE_URL" in said
    assert "LOG_LEVEL" in said


def test_an_argument_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ei-gateway-server", "--port", "5000"])
    with pytest.raises(SystemExit) as ended:
        services.gateway()
    assert ended.value.code == 2
    assert "usage: ei-gateway-server [-h]" in capsys.readouterr().err
