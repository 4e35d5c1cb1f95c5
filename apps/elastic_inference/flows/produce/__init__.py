"""From a source to the frame queue: pace, newest frame only, push, reports, reconnecting. Flows of both producers."""
