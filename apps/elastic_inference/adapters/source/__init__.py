"""Where pictures come from: one file per kind of source, and the JPEG encoder. Knows no queue and no Redis."""
