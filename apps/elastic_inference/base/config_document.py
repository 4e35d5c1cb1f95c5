"""`doc/configuration.md`, written from the settings' fields: `python -m elastic_inference.base.config_document`."""

from __future__ import annotations

from typing import Any

from elastic_inference.base.config import FORMER_NAMES, SERVICES, CommonSettings, QueueRules


def settings_markdown() -> str:
    """The text of `doc/configuration.md`."""
    common = set(CommonSettings.model_fields)
    rules = set(QueueRules.model_fields)
    readers: dict[str, list[str]] = {}
    fields: dict[str, Any] = {}
    for settings_class in SERVICES:
        for name, info in settings_class.model_fields.items():
            fields.setdefault(name, info)
            readers.setdefault(name, []).append(settings_class.service)

    def rows(names: list[str]) -> list[str]:
        lines = ["| variable | default | read by | meaning |", "|---|---|---|---|"]
        for name in names:
            info = fields[name]
            default = "required" if info.is_required() else _shown(info.default)
            by = "all" if len(readers[name]) == len(SERVICES) else ", ".join(readers[name])
            bounds = _bounds(info.metadata)
            limits = f" ({bounds})" if bounds else ""
            lines.append(f"| `{name.upper()}` | {default} | {by} | {info.description}{limits} |")
        return lines

    sections = {
        "Queue and broker": [name for name in fields if name.startswith(("queue_", "broker_")) and name in common],
        "Every service": [name for name in fields if name in common and not name.startswith(("queue_", "broker_"))],
        "Queue rules": [name for name in fields if name in rules],
        "One service": [name for name in fields if name not in common and name not in rules],
    }
    text = [
        "# Configuration",
        "",
        "Every setting is an environment variable. An empty one counts as not set. A wrong value stops the service at",
        "start with one line that names the variable, its value and what is accepted. `make docs` writes this page",
        "from `apps/elastic_inference/base/settings/`.",
        "",
    ]
    for title, names in sections.items():
        text += [f"## {title}", "", *rows(names), ""]
    text += ["## Former names", "", "Accepted with a warning:", "", "| former | use |", "|---|---|"]
    text += [f"| `{former}` | `{present}` |" for former, present in FORMER_NAMES.items()]
    text += ["| `WEBSOCKET_SERVER_HOST` | `WEBSOCKET_SERVER_URL` |", ""]
    return "\n".join(text)


def _shown(default: object) -> str:
    if default is None or default == ():
        return "–"
    if isinstance(default, tuple):
        return f"`{','.join(str(part) for part in default)}`"
    return f"`{default}`"


def _bounds(metadata: list[Any]) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = [f"{word} {getattr(mark, key)}" for mark in metadata for key, word in words.items() if hasattr(mark, key)]
    return ", ".join(found)


if __name__ == "__main__":
    print(settings_markdown(), end="")
