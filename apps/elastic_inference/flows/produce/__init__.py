"""The flow of both producers: read a source, keep the newest frame, encode it, push it to the frame queue."""
