"""`tools/status.sh`: why do I see nothing? Walks from the camera to the browser and names the first broken link."""
