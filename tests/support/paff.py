"""H.264 whose frames are two field pictures each (PAFF), as old encoders write it; x264 has only MBAFF.

Every macroblock is stored uncompressed (I_PCM), so no transform is needed: ITU-T H.264, 7.3.2 to 7.3.5.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK = 16
_IDR, _SLICE, _SPS, _PPS = 5, 1, 7, 8
_MAIN_PROFILE, _LEVEL = 77, 30
_I_PCM, _I_SLICE = 25, 7


class _Bits:
    def __init__(self) -> None:
        self._text = ""

    def put(self, value: int, count: int) -> _Bits:
        self._text += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> _Bits:
        """Exp-Golomb codes."""
        for value in values:
            code = f"{value + 1:b}"
            self._text += "0" * (len(code) - 1) + code
        return self

    def raw(self, data: bytes) -> _Bits:
        """Whole bytes, after zeros up to the next one."""
        self._text += "0" * (-len(self._text) % 8) + "".join(f"{byte:08b}" for byte in data)
        return self

    def nal(self, kind: int) -> bytes:
        text = self._text + "1"
        text += "0" * (-len(text) % 8)
        body = int(text, 2).to_bytes(len(text) // 8, "big")
        out, zeros = bytearray(b"\0\0\0\1" + bytes((0x60 | kind,))), 0
        for byte in body:
            if zeros >= 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes(out)


def paff(frames: list[npt.NDArray[np.uint8]]) -> bytes:
    """Grey frames (H x W; W a multiple of 16, H of 32), the upper field first, as raw H.264 with a key frame each."""
    height, width = frames[0].shape
    across, down = width // _BLOCK, height // (2 * _BLOCK)
    head = _Bits().put(_MAIN_PROFILE, 8).put(0, 8).put(_LEVEL, 8)
    # Counts: frame numbers of 4 bits, output in the order of decoding, one frame for reference.
    head.ue(0, 0, 2, 1).put(0, 1).ue(across - 1, down - 1)
    # Field pictures, no MBAFF, direct_8x8_inference; neither cropping nor VUI.
    sps = head.put(0b001, 3).put(0b00, 2).nal(_SPS)
    # CAVLC, no weights, quantisers of 26; each slice says whether it is deblocked.
    pps = _Bits().ue(0, 0).put(0, 2).ue(0, 0, 0).put(0, 3).ue(0, 0, 0).put(0b100, 3).nal(_PPS)
    out = b""
    for frame in frames:
        out += sps + pps
        for bottom in (0, 1):
            slice_ = _Bits().ue(0, _I_SLICE, 0).put(0, 4).put(0b10 | bottom, 2)
            if bottom:
                slice_.put(0, 1)  # no marking of references
            else:
                slice_.ue(0).put(0, 2)
            slice_.ue(0, 1)  # the quantiser of the set; not deblocked
            field = frame[bottom::2]
            for row in range(0, height // 2, _BLOCK):
                for column in range(0, width, _BLOCK):
                    luma = field[row : row + _BLOCK, column : column + _BLOCK].tobytes()
                    slice_.ue(_I_PCM).raw(luma + bytes((128,)) * 128)
            out += slice_.nal(_SLICE if bottom else _IDR)
    return out


def moving_bars(count: int, width: int = 128, height: int = 96) -> list[npt.NDArray[np.uint8]]:
    """Frames of bars that move between the two fields: woven, each edge is a comb."""
    frames = []
    for number in range(count):
        frame = np.zeros((height, width), np.uint8)
        for bottom in (0, 1):
            at = np.arange(width) + (2 * number + bottom) * 6
            frame[bottom::2] = at // _BLOCK % 2 * 120 + 80
        frames.append(frame)
    return frames
