"""Collect what a run in a worker's cell says until it is done."""

import codecs
import mimetypes
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from services.tool_executor.cells import Artifact, Captured, Hear, Outcome, Stream
from services.tool_executor.frames import Frame
from services.tool_executor.line import Conversation


class Listening:
    """Collects what a run says until it is done; keeps no more than the limit, whatever the worker sends."""

    def __init__(self, limit: int, hear: Hear | None) -> None:
        self._limit = limit
        self._hear = hear
        self._heads: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._tails: dict[Stream, bytes] = {}
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder("replace") for name in self._heads}

    async def to_the_end(self, conversation: Conversation) -> Outcome:
        """Return the outcome when it comes.

        Raises:
            CellLost: the worker is gone before that.
        """
        while True:
            for frame in _joined(await conversation.answers()):
                if frame.event == "done":
                    return self._outcome(frame.header)
                await self._take(frame)

    def cut_off(self, after: timedelta) -> Outcome:
        """Return the outcome of a run whose worker does not answer any more."""
        stdout, stderr = (Captured(bytes(self._heads[name])) for name in ("stdout", "stderr"))
        return Outcome(None, 9, stdout, stderr, after, timed_out=True)

    async def _take(self, frame: Frame) -> None:
        name: Stream = "stderr" if frame.header.get("stream") == "stderr" else "stdout"
        if frame.event == "tail":
            self._tails[name] = frame.payload[-self._limit :]
            return
        head = self._heads[name]
        head += frame.payload[: self._limit - len(head)]
        if self._hear is not None:
            text = self._decoders[name].decode(frame.payload)
            if text:
                await self._hear(name, text)

    def _outcome(self, header: Mapping[str, Any]) -> Outcome:
        dropped: Mapping[str, int] = header.get("dropped", {})
        captured = {
            name: Captured(bytes(head), self._tails.get(name, b""), int(dropped.get(name, 0)))
            for name, head in self._heads.items()
        }
        return Outcome(
            exit_code=header.get("exit_code"),
            signal=header.get("signal"),
            stdout=captured["stdout"],
            stderr=captured["stderr"],
            duration=timedelta(seconds=float(header.get("duration_s", 0.0))),
            cpu_s=float(header.get("cpu_s", 0.0)),
            timed_out=bool(header.get("timed_out")),
            out_of_memory=bool(header.get("out_of_memory")),
            cancelled=bool(header.get("cancelled")),
            over=header.get("over"),
            disk_full=bool(header.get("disk_full")),
            temporary_lost=bool(header.get("temporary_lost")),
            artifacts=_artifacts(header.get("artifacts", ())),
            artifacts_left_out=int(header.get("artifacts_left_out", 0)),
            variables=header.get("variables"),
        )


def _artifacts(told: Iterable[tuple[str, int]]) -> tuple[Artifact, ...]:
    return tuple(Artifact(path, _media_type(path), int(size)) for path, size in told)


def _media_type(path: str) -> str:
    guessed, encoding = mimetypes.guess_type(path)
    return guessed if guessed is not None and encoding is None else "application/octet-stream"


def _joined(frames: list[Frame]) -> list[Frame]:
    """Return `frames` with neighbouring pieces of the same output made one, so that a listener hears fewer of them."""
    joined: list[Frame] = []
    for frame in frames:
        last = joined[-1] if joined else None
        if last is not None and frame.event == "output" and last.header == frame.header:
            joined[-1] = Frame(frame.header, last.payload + frame.payload)
        else:
            joined.append(frame)
    return joined
