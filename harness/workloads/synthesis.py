"""A speaker in a process of its own: `python -m harness.workloads.synthesis ASKED.json SPOKEN.npz`, by espeak-ng.

espeak-ng keeps state from one utterance to the next and seeds its noise from the clock: the same utterance comes out
the same only in the same order, in a fresh process, with the seed set before each call. A process of its own also
means that a crash of the library, or its GPL-3.0 code, is never in a process that trains.

Source: https://github.com/espeak-ng/espeak-ng/blob/master/src/include/espeak-ng/speak_lib.h
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Samples: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

RATE = 8000
"""samples per second of what is returned"""
SYNCHRONOUS, UTF8, SPEED, PITCH = 2, 1, 1, 3
"""numbers of speak_lib.h: espeak_Synth returns when all is said (the other mode waits for a thread that sleeps, 20 ms
for what takes 1); text is UTF-8; the two parameters that are set"""
SEED = 1
TIMEOUT_S = 300.0


class Utterance(NamedTuple):
    """What is to be said. voice: a language, or a language + a variant; speed: words per minute; pitch: 0 to 99."""

    voice: str
    speed: int
    pitch: int
    text: str


def synthesize(asked: Sequence[Utterance]) -> list[Samples]:
    """Speak all of it in a fresh process, in this order; int16 samples of each, at 8 kHz.

    Raises RuntimeError with the process's last words where it fails.
    """
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(prefix="dynamometer-") as folder:
        request, answer = Path(folder, "asked.json"), Path(folder, "spoken.npz")
        request.write_text(json.dumps(asked))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.workloads.synthesis", str(request), str(answer)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0 or not answer.exists():
            said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise RuntimeError(f"the speech synthesizer ended with code {done.returncode} and said: {said[0]}")
        with np.load(answer, allow_pickle=False) as spoken:
            return np.split(spoken["samples"], spoken["ends"][:-1])


def _main(request: str, answer: str) -> None:
    """Speak what the JSON file asks for, into one npz: all samples one after another, and where each utterance ends."""
    asked = [Utterance(*each) for each in json.loads(Path(request).read_text())]
    speak, rate = _speaker()
    spoken = [_at_rate(speak(each), rate) for each in asked]
    ends = np.cumsum([len(samples) for samples in spoken])
    np.savez(answer, samples=np.concatenate(spoken), ends=ends)


def _speaker() -> tuple[Callable[[Utterance], Samples], int]:
    """espeak-ng, ready to speak, and the samples per second that it makes. Raises RuntimeError where it refuses."""
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
    if rate <= 0:
        raise RuntimeError("espeak-ng does not find its data")
    heard: list[bytes] = []

    def hear(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            heard.append(ctypes.string_at(samples, 2 * count))
        return 0

    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
    callback = prototype(hear)
    library.espeak_SetSynthCallback(callback)
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint,
                                     ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]  # fmt: skip

    def speak(asked: Utterance, _alive: Any = callback) -> Samples:
        heard.clear()
        if library.espeak_SetVoiceByName(asked.voice.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {asked.voice!r}")
        library.espeak_SetParameter(SPEED, asked.speed, 0)
        library.espeak_SetParameter(PITCH, asked.pitch, 0)
        library.espeak_ng_SetRandSeed(SEED)
        text = asked.text.encode()
        if library.espeak_Synth(text, len(text) + 1, 0, 0, 0, UTF8, None, None) != 0:
            raise RuntimeError(f"espeak-ng cannot say {asked.text!r}")
        return np.frombuffer(b"".join(heard), dtype=np.int16)

    return speak, rate


def _at_rate(samples: Samples, rate: int) -> Samples:
    """The same sound with 8000 samples per second, low-pass filtered (polyphase), rounded."""
    from scipy.signal import resample_poly

    resampled = resample_poly(samples.astype(np.float64), RATE, rate)
    rounded: Samples = np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)
    return rounded


if __name__ == "__main__":
    _main(*sys.argv[1:])
