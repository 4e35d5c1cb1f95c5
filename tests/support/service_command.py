"""The command that runs a service, if need be with smaller constants, so that a test waits for less."""

from __future__ import annotations

import sys
from collections.abc import Mapping


def service_command(name: str, constants: Mapping[str, float] | None = None) -> list[str]:
    """`name` is a function of `elastic_inference.commands.services`.

    `constants` are by the full name of the module that reads each, such as
    `elastic_inference.flows.housekeeping.rounds.WORKERS_EVERY_S`. A service with an unknown one does not start.
    """
    lines = ["import sys", "from importlib import import_module", "from elastic_inference.commands import services"]
    if constants:
        lines += ["from elastic_inference.commands.left_out import leave_out", "leave_out()"]
    for each, value in (constants or {}).items():
        module, _, constant = each.rpartition(".")
        lines += [f"module = import_module({module!r})", f"module.{constant}", f"module.{constant} = {value!r}"]
    return [sys.executable, "-c", "\n".join([*lines, f"sys.exit(services.{name}())"])]
