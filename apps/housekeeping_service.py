"""Entry point: see `elastic_inference.flows.housekeeping.housekeeping_service`."""

import sys

from elastic_inference.commands.services import housekeeping

if __name__ == "__main__":
    sys.exit(housekeeping())
