"""Entry point: see `elastic_inference.flows.produce.camera_service`."""

import sys

from elastic_inference.commands.services import camera

if __name__ == "__main__":
    sys.exit(camera())
