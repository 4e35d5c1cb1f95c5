"""What the websocket server loads at start: nothing that only drawing needs."""

from __future__ import annotations

import subprocess
import sys


def test_no_drawing_library_before_the_first_drawn_frame() -> None:
    code = (
        "import sys, elastic_inference.flows.relay.websocket_service\n"
        "print(*sorted({'cv2', 'numpy', 'simplejpeg', 'openvino', 'tornado', 'msgpack'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
