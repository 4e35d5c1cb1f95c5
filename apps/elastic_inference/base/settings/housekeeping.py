"""Settings of housekeeping."""

from pydantic import Field

from elastic_inference.base.settings.common import CommonSettings, QueueRules
from elastic_inference.base.settings.fields import PortOrFree, ReadablePath, ReplacedFile


class HousekeepingSettings(CommonSettings, QueueRules):
    """Settings of housekeeping."""

    service = "housekeeping"
    command = "ei-housekeeping-service"
    cameras_file: ReplacedFile = Field(
        None,
        description="the file (YAML) with the cameras of the pool; it is read again when it changes, and written by "
        "the API's changes, for which its folder must be writable",
    )
    scaler_port: PortOrFree | None = Field(
        None,
        description="port of the external push scaler for KEDA (gRPC); without it, there is none; 0 takes a free one",
    )
    scaler_host: str = Field("0.0.0.0", description="address that the scaler listens on")  # noqa: S104
    scaler_tls_cert: ReadablePath = Field(
        None, description="certificate chain (PEM) of the scaler: serve TLS; it is read again when it changes"
    )
    scaler_tls_key: ReadablePath = Field(None, description="its key (PEM)")
    scaler_client_ca: ReadablePath = Field(
        None, description="certificate authorities (PEM) of the scaler's clients: others are refused"
    )
