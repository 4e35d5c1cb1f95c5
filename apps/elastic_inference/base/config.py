"""Settings: what each service reads from the environment, checked once at start.

Entry points call `load`; the rest of the package gets a frozen settings object. Every field's name in upper case is
its variable. `make docs` writes `doc/configuration.md` and `tools/lib/variables.sh` from the fields.
Nothing reads the environment at import.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from elastic_inference.base.settings.common import CommonSettings, QueueRules, RedisTarget
from elastic_inference.base.settings.secret import Secret
from elastic_inference.base.settings.setting import settings_of
from elastic_inference.base.url import hide_password, in_brackets
from elastic_inference.domain.errors import SettingError

if TYPE_CHECKING:
    from elastic_inference.base.settings.camera_controller import CameraControllerSettings
    from elastic_inference.base.settings.events import EventSettings
    from elastic_inference.base.settings.housekeeping import HousekeepingSettings
    from elastic_inference.base.settings.inference import InferenceSettings
    from elastic_inference.base.settings.producer import CameraSettings, FileSettings, ProducerSettings
    from elastic_inference.base.settings.servers import GatewaySettings, WebsocketSettings

    SERVICES: tuple[type[CommonSettings], ...]

__all__ = [
    "FORMER_NAMES",
    "SERVICES",
    "CameraControllerSettings",
    "CameraSettings",
    "CommonSettings",
    "EventSettings",
    "FileSettings",
    "GatewaySettings",
    "HousekeepingSettings",
    "InferenceSettings",
    "ProducerSettings",
    "QueueRules",
    "RedisTarget",
    "Secret",
    "WebsocketSettings",
    "load",
    "read",
    "settings_of",
]

# The settings of every service, with their module in `base.settings`. A new service is added here. A module is loaded
# when its class is first asked for, so that a service builds its own settings alone.
_SERVICES = {
    "CameraSettings": "producer",
    "FileSettings": "producer",
    "InferenceSettings": "inference",
    "WebsocketSettings": "servers",
    "GatewaySettings": "servers",
    "HousekeepingSettings": "housekeeping",
    "EventSettings": "events",
    "CameraControllerSettings": "camera_controller",
}
_HOMES = {**_SERVICES, "ProducerSettings": "producer"}
FORMER_NAMES = {
    "INPUT_QUEUE_HOST": "QUEUE_HOST",
    "OUTPUT_BROKER_HOST": "BROKER_HOST",
    "STREAM_BROKER_HOST": "BROKER_HOST",
    "STREAM_BROKER_PORT": "BROKER_PORT",
    "STREAM_BROKER_REDIS_HOST": "BROKER_HOST",
    "STREAM_BROKER_REDIS_PORT": "BROKER_PORT",
    "CAMERA_INDEX": "CAMERA",
    "MODEL_DIR": "INFER_MODEL_PATH",
}
# Together they are the former form of WEBSOCKET_SERVER_URL.
FORMER_WEBSOCKET_NAMES = ("WEBSOCKET_SERVER_HOST", "WEBSOCKET_SERVER_PORT")
S = TypeVar("S", bound=CommonSettings)
R = TypeVar("R")


def __getattr__(name: str) -> Any:
    """The classes of `_HOMES`, and SERVICES, those of all services."""
    if name == "SERVICES":
        found: Any = tuple(__getattr__(each) for each in _SERVICES)
    elif name in _HOMES:
        found = getattr(importlib.import_module(f"elastic_inference.base.settings.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def load(settings_class: type[S], environ: Mapping[str, str]) -> S:
    """Settings of a service from environment variables; an empty variable counts as not set.

    Former names are accepted with one warning each. Raises SettingError that names the variable, its value (never a
    secret's) and what is accepted.
    """
    env = {name: value for name, value in environ.items() if value.strip()}
    _accept_former_names(env)
    settings = read(settings_class, env)
    settings.broker  # noqa: B018  reads the password files, so that a missing one shows at start
    return settings


def read(settings_class: type[R], environ: Mapping[str, str]) -> R:
    """`load` without former names, for any dataclass of settings."""
    values = {}
    for name, setting in settings_of(settings_class).items():
        text = environ.get(name.upper(), "")
        if text.strip():
            try:
                values[name] = setting.value(text)
            except ValueError as error:
                shown = "(hidden)" if setting.kind is Secret else hide_password(text.strip())
                raise SettingError(name.upper(), shown[:200], str(error)) from None
        elif setting.is_required:
            raise SettingError(name.upper(), "(not set)", f"it must be set: {setting.description}")
    return settings_class(**values)


def _accept_former_names(env: dict[str, str]) -> None:
    for former, present in FORMER_NAMES.items():
        if former in env:
            warnings.warn(f"{former} is the former name of {present}: use {present}", FutureWarning, stacklevel=3)
            env.setdefault(present, env[former])
    former_host, former_port = FORMER_WEBSOCKET_NAMES
    if former_host in env:
        warnings.warn(
            f"{former_host} is the former form of WEBSOCKET_SERVER_URL: use WEBSOCKET_SERVER_URL",
            FutureWarning,
            stacklevel=3,
        )
        from elastic_inference.base.settings.servers import WEBSOCKET_PORT  # noqa: PLC0415  only here

        host, port = env[former_host], env.get(former_port, str(WEBSOCKET_PORT))
        env.setdefault("WEBSOCKET_SERVER_URL", f"ws://{in_brackets(host)}:{port}")
