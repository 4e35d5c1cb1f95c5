"""Entry point: see `elastic_inference.flows.produce.file_service`."""

import sys

from elastic_inference.commands.services import file

if __name__ == "__main__":
    sys.exit(file())
