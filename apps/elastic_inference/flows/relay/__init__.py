"""The websocket server: from the broker's channels to viewers, newest frame first."""
