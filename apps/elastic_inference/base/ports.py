"""Ports that users of an installation see. The services' own defaults are in their settings.

Read by the demo, `ei-redis`, the scripts (through `tools/lib/variables.sh`) and the manifests.
"""

from __future__ import annotations

# The node ports of a cluster, and the demo's ports.
DASHBOARD_PORT = 31002
QUEUE_PORT = 31003
# Metrics and health, in the images.
METRICS_PORT = 8000
# The scaler for KEDA, in a cluster.
SCALER_PORT = 8010
