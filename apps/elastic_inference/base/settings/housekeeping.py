"""Settings of housekeeping."""

from elastic_inference.base.settings.common import CommonSettings, QueueRules


class HousekeepingSettings(CommonSettings, QueueRules):
    """Settings of housekeeping."""

    service = "housekeeping"
    command = "ei-housekeeping-service"
