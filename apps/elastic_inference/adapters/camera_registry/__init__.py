"""The registry of the pool's cameras in the queue's Redis: all keys of `{cameras}` except the leases.

The owner of the cameras writes it (`owner`, `writer`). Source workers read specifications and logins, and write
statuses (`camera_reader`). The gateway reads what it may show, and sends requests (`listing`, `requests`).
`camera_values` defines the values.
"""
