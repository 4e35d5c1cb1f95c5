"""Settings of housekeeping."""

from dataclasses import dataclass

from elastic_inference.base.settings.common import CommonSettings, QueueRules
from elastic_inference.base.settings.fields import Host, PortOrFree, ReadablePath, ReplacedFile
from elastic_inference.base.settings.setting import setting


@dataclass(frozen=True, kw_only=True)
class HousekeepingSettings(CommonSettings, QueueRules):
    """Settings of housekeeping."""

    service = "housekeeping"
    command = "ei-housekeeping-service"
    cameras_file: ReplacedFile = setting(
        None,
        description="the file (YAML) with the cameras of the pool; it is read again when it changes, and written by "
        "the API's changes, for which its folder must be writable",
    )
    scaler_port: PortOrFree | None = setting(
        None,
        description="port of the external push scaler for KEDA (gRPC); without it, there is none; 0 takes a free one",
    )
    scaler_host: Host = setting("0.0.0.0", description="address that the scaler listens on")  # noqa: S104
    scaler_tls_cert: ReadablePath = setting(
        None, description="certificate chain (PEM) of the scaler: serve TLS; it is read again when it changes"
    )
    scaler_tls_key: ReadablePath = setting(None, description="its key (PEM)")
    scaler_client_ca: ReadablePath = setting(
        None, description="certificate authorities (PEM) of the scaler's clients: others are refused"
    )
