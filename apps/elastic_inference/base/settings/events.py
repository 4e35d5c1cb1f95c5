"""Settings of the event service."""

from dataclasses import dataclass
from typing import Literal

from elastic_inference.base.settings.delivery import DeliverySettings
from elastic_inference.base.settings.fields import PublicUrl
from elastic_inference.base.settings.setting import setting


@dataclass(frozen=True, kw_only=True)
class EventSettings(DeliverySettings):
    """Settings of the event service."""

    service = "events"
    command = "ei-event-service"
    result_partitions: int = setting(
        16, ge=1, le=256, description="into how many parts the results are divided; the same for all event services"
    )
    event_reorder_ms: float = setting(
        500.0, ge=0, le=10_000, description="how long a result waits for a missing predecessor before it is analysed"
    )
    event_camera_lost_s: float = setting(
        10.0, ge=3, le=3600, description="a camera that gives no frames for so long is lost, seconds"
    )
    event_retention_s: float = setting(
        86_400.0, ge=60, le=2_592_000, description="how long events are kept in Redis, seconds"
    )
    event_maxlen: int = setting(
        50_000, ge=1000, le=10_000_000, description="how many events are kept in Redis; about 1 kB each"
    )
    event_snapshot_mb: int = setting(
        64, ge=0, le=65_536, description="memory for images of events in the broker's Redis, MiB; 0 takes none"
    )
    event_snapshot_s: float = setting(
        86_400.0, ge=60, le=2_592_000, description="how long images of events are kept, seconds"
    )
    event_snapshot_rule: Literal["largest", "confidence"] = setting(
        "largest",
        description="the best image of an event: where its object is largest, or its confidence highest",
    )
    public_url: PublicUrl = setting(
        "",
        description="address of the gateway for those who get events, such as https://cameras.example.org; makes the "
        "address of an event's image complete",
    )

    @property
    def partition_maxlen(self) -> int:
        """How many events a partition keeps."""
        return max(10, self.event_maxlen // self.result_partitions)
