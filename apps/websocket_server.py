"""Entry point: see `elastic_inference.flows.relay.websocket_service`."""

import sys

from elastic_inference.commands.services import websocket

if __name__ == "__main__":
    sys.exit(websocket())
