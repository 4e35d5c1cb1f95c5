"""Settings of delivery, which is a part of the event service."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from elastic_inference.base.address_rules import DEFAULT_NETWORKS
from elastic_inference.base.settings.common import CommonSettings
from elastic_inference.base.settings.fields import HostPath, Networks, ReadablePath


class DeliverySettings(CommonSettings):
    """Settings of delivery."""

    sinks_file: ReadablePath = Field(
        None,
        description="the file (YAML) with the sinks that events are delivered to; it is read again when it changes",
    )
    sink_secrets_dir: Annotated[Path | None, HostPath("read")] = Field(
        None, description="the folder of the files with the sinks' secrets, which their specifications name"
    )
    sink_networks: Networks = Field(
        DEFAULT_NETWORKS,
        description="networks in which sinks made by the API may be; those of SINKS_FILE may be anywhere",
    )
