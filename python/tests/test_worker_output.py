"""What a worker's streams do with what is written to them."""

from __future__ import annotations

import threading

from runpod_flash._worker import frames
from runpod_flash._worker.output import Writer


def texts(sent: list[bytes]) -> list[str]:
    return [payload[1:].decode() for data in sent for _, _, payload in frames.Decoder().feed(data)]


def test_a_finaliser_may_print_while_its_thread_prints() -> None:
    sent: list[bytes] = []
    writer = Writer(1, sent.append)

    class Collected(dict[int, str]):
        """The collector may run wherever something is made or freed."""

        finalised = False

        def pop(self, key: int, *default: str) -> str:  # type: ignore[override]
            if not self.finalised:
                self.finalised = True
                writer.write("of the finaliser\nand ")
            return super().pop(key, *default)

    writer._lines = Collected()
    thread = threading.Thread(target=lambda: (writer.write("of the function"), writer.flush()), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert texts(sent) == ["of the finaliser\n", "and of the function"]
