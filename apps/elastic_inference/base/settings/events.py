"""Settings of the event service."""

from typing import Literal

from pydantic import Field

from elastic_inference.base.settings.delivery import DeliverySettings
from elastic_inference.base.settings.fields import PublicUrl


class EventSettings(DeliverySettings):
    """Settings of the event service."""

    service = "events"
    command = "ei-event-service"
    result_partitions: int = Field(
        16, ge=1, le=256, description="into how many parts the results are divided; the same for all event services"
    )
    event_reorder_ms: float = Field(
        500.0, ge=0, le=10_000, description="how long a result waits for a missing predecessor before it is analysed"
    )
    event_camera_lost_s: float = Field(
        10.0, ge=3, le=3600, description="a camera that gives no frames for so long is lost, seconds"
    )
    event_retention_s: float = Field(
        86_400.0, ge=60, le=2_592_000, description="how long events are kept in Redis, seconds"
    )
    event_maxlen: int = Field(
        50_000, ge=1000, le=10_000_000, description="how many events are kept in Redis; about 1 kB each"
    )
    event_snapshot_mb: int = Field(
        64, ge=0, le=65_536, description="memory for images of events in the broker's Redis, MiB; 0 takes none"
    )
    event_snapshot_s: float = Field(
        86_400.0, ge=60, le=2_592_000, description="how long images of events are kept, seconds"
    )
    event_snapshot_rule: Literal["largest", "confidence"] = Field(
        "largest",
        description="the best image of an event: where its object is largest, or its confidence highest",
    )
    public_url: PublicUrl = Field(
        "",
        description="address of the gateway for those who get events, such as https://cameras.example.org; makes the "
        "address of an event's image complete",
    )

    @property
    def partition_maxlen(self) -> int:
        """How many events a partition keeps."""
        return max(10, self.event_maxlen // self.result_partitions)
