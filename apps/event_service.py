"""Entry point: see `elastic_inference.flows.events.event_service`."""

import sys

from elastic_inference.commands.services import events

if __name__ == "__main__":
    sys.exit(events())
