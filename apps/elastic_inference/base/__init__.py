"""What every service shares: settings, logging, lifecycle, metrics. It may import the domain."""
