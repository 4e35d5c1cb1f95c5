"""The gateway: REST, events, login, the dashboard's files, and the tunnel to the websocket server."""
