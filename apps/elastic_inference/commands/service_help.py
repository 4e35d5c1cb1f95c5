"""`-h` of a service: the environment variables that it reads, made from the settings' fields."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence

from elastic_inference.base.config import CommonSettings, settings_of
from elastic_inference.base.settings.setting import text_of


def answer(settings_class: type[CommonSettings], command: str, arguments: Sequence[str]) -> None:
    """Prints the help, or the error that a service takes no arguments, and ends the process (SystemExit 0 or 2)."""
    parser = argparse.ArgumentParser(
        prog=command,
        description=f"The {settings_class.service} service. It takes no arguments: every setting is an environment "
        "variable. It runs until SIGINT or SIGTERM.",
        epilog=_variables(settings_class),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)


def _variables(settings_class: type[CommonSettings]) -> str:
    lines = ["variables:"]
    for name, field in settings_of(settings_class).items():
        if field.is_required:
            default = "required"
        elif field.default is None or field.default == ():
            default = "not set"
        else:
            default = text_of(field.default)
        lines.append(f"  {name.upper()} ({default})")
        lines.append(textwrap.fill(field.description, 100, initial_indent=" " * 6, subsequent_indent=" " * 6))
    return "\n".join(lines)
