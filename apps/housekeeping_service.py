"""Entry point: see `elastic_inference.flows.housekeeping.housekeeping_service`."""

import sys

from elastic_inference.flows.housekeeping.housekeeping_service import main

if __name__ == "__main__":
    sys.exit(main())
