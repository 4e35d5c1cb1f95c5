"""`tools/lib/variables.sh`, written from the settings: `python -m elastic_inference.base.shell_variables`.

`tools/run-*.sh -y` must work without Python, so it reads this file to learn which variables and files a container gets.
"""

from __future__ import annotations

from elastic_inference.base import config, ports
from elastic_inference.base.config import CommonSettings
from elastic_inference.base.settings.fields import HostPath

_HEAD = """\
# shellcheck shell=bash disable=SC2034  # tools/lib/run.sh reads it
# Written by `make docs` from apps/elastic_inference/base/settings/: the variables that each service reads.
# NAME:use or NAME:use:folder is a file or folder of the host, which `run_file` brings into the container; FORMER=NAME
# is a former name.
"""


def service_variables(settings: type[CommonSettings]) -> list[str]:
    """The variables that a service reads, former names included, in the form that `tools/lib/run.sh` reads."""
    marks = {}
    for name, info in config.settings_of(settings).items():
        host_path = next((each for each in info.marks if isinstance(each, HostPath)), None)
        parts = [host_path.use, host_path.folder] if host_path else []
        marks[name.upper()] = "".join(f":{part}" for part in parts if part)
    formers = [f"{former}={present}" for former, present in config.FORMER_NAMES.items() if present in marks]
    pairs = config.FORMER_WEBSOCKET_NAMES if "WEBSOCKET_SERVER_URL" in marks else ()
    return [*formers, *(f"{name}{mark}" for name, mark in marks.items()), *pairs]


def shell_text() -> str:
    """The whole file."""
    lines = ["declare -A RUN_VARIABLES=("]
    for settings in config.SERVICES:
        variables = [f"        {each}" for each in service_variables(settings)]
        lines += [f'    ["{settings.command}"]="', *variables, '    "']
    gateway, websocket = (config.settings_of(each) for each in (config.GatewaySettings, config.WebsocketSettings))
    lines += [
        ")",
        f"RUN_DASHBOARD_PORT={ports.DASHBOARD_PORT}",
        f"RUN_QUEUE_PORT={ports.QUEUE_PORT}",
        f"RUN_GATEWAY_PORT={gateway['gateway_port'].default}",
        f"RUN_WEBSOCKET_PORT={websocket['websocket_port'].default}",
        f"RUN_WEBSOCKET_URL={gateway['websocket_server_url'].default}",
        f"RUN_MAX_FRAME_BYTES={config.settings_of(config.QueueRules)['max_frame_bytes'].default}",
    ]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(shell_text(), end="")
