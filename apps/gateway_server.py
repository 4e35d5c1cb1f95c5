"""Entry point: see `elastic_inference.flows.gateway.gateway_service`."""

import sys

from elastic_inference.commands.services import gateway

if __name__ == "__main__":
    sys.exit(gateway())
