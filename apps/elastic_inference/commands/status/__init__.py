"""`tools/status.sh`: checks each link from the camera to the browser and names the first broken one."""
