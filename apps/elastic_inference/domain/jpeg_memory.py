"""How much memory libjpeg needs to decode a JPEG, judged by its header.

Called before an image is decoded, by the pods and by drawing. An image whose first scan holds everything is decoded row
by row. For any other (progressive, or one scan for each component) libjpeg keeps all coefficients, two bytes each,
at any decoding scale: 198 MB for 33 million pixels without subsampling.
"""

from __future__ import annotations

from elastic_inference.domain.frame import SIZE_MARKERS

# SOF0, SOF1 and SOF9: one scan may hold the whole image. ITU-T T.81, table B.1.
_SEQUENTIAL = frozenset((0xC0, 0xC1, 0xC9))
_OTHER_FRAMES = SIZE_MARKERS - _SEQUENTIAL
_BLOCK = 8
_BYTES_A_BLOCK = 2 * _BLOCK * _BLOCK
# Rows of blocks, their neighbours and upsampled rows, for up to four components. Measured: 60 to 150 per column.
_BYTES_A_COLUMN = 256
# Assumed if the header is invalid: four components without subsampling.
_WORST_BYTES_A_PIXEL = 8


def one_scan(data: bytes | memoryview) -> bool:
    """Whether the header says that the first scan is the only one, after which decoders stop. False if unsure.

    This saves a search through the bytes of nearly every frame: 0.1 ms at 768x432.
    """
    at, parts, end = 2, 0, len(data)
    while at + 9 < end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xDA:
            return data[at + 4] == parts
        if marker in _SEQUENTIAL:
            parts = data[at + 9]
        elif marker in _OTHER_FRAMES or not 0xC4 <= marker <= 0xFE or 0xD0 <= marker <= 0xD9:
            break
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return False


def decoding_bytes(data: bytes | memoryview, width: int, height: int) -> int:
    """Bytes that libjpeg needs for `data`, an image of this size in pixels, besides the pixels that it returns."""
    rows = row_bytes(width)
    return rows if one_scan(data) else rows + _coefficient_bytes(data, width, height)


def row_bytes(width: int) -> int:
    """Like `decoding_bytes`, for an image of one scan."""
    return _BYTES_A_COLUMN * width


def _coefficient_bytes(data: bytes | memoryview, width: int, height: int) -> int:
    """Two bytes for each coefficient of each component, in whole groups of blocks."""
    worst = _WORST_BYTES_A_PIXEL * (width + 4 * _BLOCK) * (height + 4 * _BLOCK)
    at, end = 2, len(data)
    while at + 10 <= end and data[at] == 0xFF and data[at + 1] not in SIZE_MARKERS:
        # Fill bytes before a marker have no length.
        at += 1 if data[at + 1] == 0xFF else 2 + (data[at + 2] << 8 | data[at + 3])
    if at + 10 > end or data[at] != 0xFF:
        return worst
    factors = [divmod(data[offset], 16) for offset in range(at + 11, min(end, at + 11 + 3 * data[at + 9]), 3)]
    if not factors or not all(1 <= each <= 4 for pair in factors for each in pair):
        return worst
    across, down = max(pair[0] for pair in factors), max(pair[1] for pair in factors)
    groups = -(-width // (_BLOCK * across)) * -(-height // (_BLOCK * down))
    return groups * sum(wide * high for wide, high in factors) * _BYTES_A_BLOCK
