"""`doc/configuration.md`, written from the settings' fields: `python -m elastic_inference.base.config_document`."""

from __future__ import annotations

from elastic_inference.base.config import FORMER_NAMES, SERVICES, CommonSettings, QueueRules, settings_of
from elastic_inference.base.settings.setting import Setting, text_of


def settings_markdown() -> str:
    """The text of `doc/configuration.md`."""
    common = set(settings_of(CommonSettings))
    rules = set(settings_of(QueueRules))
    readers: dict[str, list[str]] = {}
    fields: dict[str, Setting] = {}
    for settings_class in SERVICES:
        for name, info in settings_of(settings_class).items():
            fields.setdefault(name, info)
            readers.setdefault(name, []).append(settings_class.service)

    def rows(names: list[str]) -> list[str]:
        lines = ["| variable | default | read by | meaning |", "|---|---|---|---|"]
        for name in names:
            info = fields[name]
            default = "required" if info.is_required else _shown(info.default)
            by = "all" if len(readers[name]) == len(SERVICES) else ", ".join(readers[name])
            limits = f" ({info.limits})" if str(info.limits) else ""
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
    return f"`{text_of(default)}`"


if __name__ == "__main__":
    print(settings_markdown(), end="")
