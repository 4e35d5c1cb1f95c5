"""The websocket server: forwards results from the broker's channels to viewers, the newest frame first."""
