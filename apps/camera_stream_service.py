"""Entry point: see `elastic_inference.produce.camera_service`."""

import sys

from elastic_inference.produce.camera_service import main

if __name__ == "__main__":
    sys.exit(main())
