"""Settings of housekeeping."""

from pydantic import Field

from elastic_inference.base.settings.common import CommonSettings, QueueRules
from elastic_inference.base.settings.fields import ReplacedFile


class HousekeepingSettings(CommonSettings, QueueRules):
    """Settings of housekeeping."""

    service = "housekeeping"
    command = "ei-housekeeping-service"
    cameras_file: ReplacedFile = Field(
        None,
        description="the file (YAML) with the cameras of the pool; it is read again when it changes, and written by "
        "the API's changes, for which its folder must be writable",
    )
