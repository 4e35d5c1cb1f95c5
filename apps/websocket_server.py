"""Entry point: see `elastic_inference.relay.service`."""

import sys

from elastic_inference.relay.service import main

if __name__ == "__main__":
    sys.exit(main())
