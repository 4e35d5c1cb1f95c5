"""The largest frame that is accepted unless a setting says otherwise."""

DEFAULT_MAX_FRAME_BYTES = 4 * 1024 * 1024
DEFAULT_MAX_FRAME_PIXELS = 7680 * 4320  # 8K
