"""Settings of delivery, which is a part of the event service."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from elastic_inference.base.address_rules import DEFAULT_NETWORKS
from elastic_inference.base.settings.common import CommonSettings
from elastic_inference.base.settings.fields import HostPath, Networks, ReadablePath
from elastic_inference.base.settings.setting import setting


@dataclass(frozen=True, kw_only=True)
class DeliverySettings(CommonSettings):
    """Settings of delivery."""

    sinks_file: ReadablePath = setting(
        None,
        description="the file (YAML) with the sinks that events are delivered to; it is read again when it changes",
    )
    sink_secrets_dir: Annotated[Path | None, HostPath("read")] = setting(
        None, description="the folder of the files with the sinks' secrets, which their specifications name"
    )
    sink_networks: Networks = setting(
        DEFAULT_NETWORKS,
        description="networks in which sinks made by the API may be; those of SINKS_FILE may be anywhere",
    )
