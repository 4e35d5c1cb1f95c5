"""The login that is made for FFmpeg, byte for byte."""

from __future__ import annotations

import pytest

from elastic_inference.adapters.source.rtsp_login import MAX_TEXT_BYTES, RtspLogin, ffmpeg_can_answer

REQUEST = b"DESCRIBE rtsp://127.0.0.1:5/live RTSP/1.0\r\nCSeq: 2\r\n\r\n"
PACKET = b"$\0\0\x05ab\r\n\r"
REFUSAL = b'RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm="r", nonce="n", algorithm=%b\r\n\r\n'
ACCEPTED = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 9\r\n\r\n$body\r\n\r\n"


def login() -> RtspLogin:
    return RtspLogin("bob", "p@ss", "127.0.0.1:5", "camera:554")


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_only_refusals_are_answered_however_the_data_is_cut(step: int) -> None:
    made = login()
    sent = b"".join(made.to_camera(REQUEST[at : at + step]) for at in range(0, len(REQUEST), step))
    assert sent == REQUEST.replace(b"127.0.0.1:5", b"camera:554")
    camera = PACKET + REFUSAL % b"SHA-256" + PACKET + ACCEPTED + PACKET
    shown = answers = b""
    for at in range(0, len(camera), step):
        forward, back = made.to_ffmpeg(camera[at : at + step])
        shown, answers = shown + forward, answers + back
    assert shown == PACKET + PACKET + ACCEPTED + PACKET
    assert answers.startswith(b"DESCRIBE rtsp://camera:554/live RTSP/1.0\r\nAuthorization: Digest username=")
    assert answers.endswith(b"CSeq: 2\r\n\r\n")
    assert b"p@ss" not in answers
    # The next request is logged in at once; FFmpeg's own packets pass.
    later = made.to_camera(PACKET + REQUEST)
    assert later.startswith(PACKET + b"DESCRIBE rtsp://camera:554/live RTSP/1.0\r\nAuthorization: ")


def test_a_second_refusal_is_passed_on_and_an_unknown_login_named() -> None:
    made = login()
    made.to_camera(REQUEST)
    assert made.to_ffmpeg(REFUSAL % b"MD5")[1]
    assert made.to_ffmpeg(REFUSAL % b"MD5") == (REFUSAL % b"MD5", b"")
    assert made.missing is None
    made = login()
    made.to_camera(REQUEST)
    assert made.to_ffmpeg(REFUSAL % b"SHA3-256") == (REFUSAL % b"SHA3-256", b"")
    assert "SHA3-256" in (made.missing or "")


def test_endless_text_is_refused() -> None:
    with pytest.raises(ValueError, match="endless"):
        login().to_ffmpeg(b"x" * (MAX_TEXT_BYTES + 5))
    with pytest.raises(ValueError, match="huge"):
        login().to_ffmpeg(b"RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (['Basic realm="r"'], True),
        (['Digest realm="r", nonce="n"'], True),
        (['Basic realm="r"', 'Digest realm="r", nonce="n", algorithm=MD5, qop="auth,auth-int"'], True),
        (['Basic realm="r", Digest realm="r", nonce="n"'], False),
        (['Digest realm="r", nonce="n"', 'Digest realm="r", nonce="n", algorithm=SHA-256'], False),
        (['Digest realm="r", nonce="n", qop="auth-int"'], False),
        ([], True),
    ],
)
def test_what_ffmpeg_can_answer(headers: list[str], expected: bool) -> None:
    assert ffmpeg_can_answer(headers) is expected
