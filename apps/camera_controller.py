"""Entry point: see `elastic_inference.flows.cameras.camera_controller`."""

import sys

from elastic_inference.commands.services import camera_controller

if __name__ == "__main__":
    sys.exit(camera_controller())
