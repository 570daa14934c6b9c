"""Nothing that was accepted is lost, and nothing runs twice unseen: workers, the server and both are killed at random under load.

`FLASH_KILLS` says how often; by hand a few hundred times.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flash_process import wait_for
from jobs_project import deployed, ended, post
from serve_process import Server

KILLS = int(os.environ.get("FLASH_KILLS", "6"))
SENDERS = 4

SOURCE = """
from __future__ import annotations

import os
import socket

from runpod_flash import LiveServerless, remote

paid = LiveServerless(name="paid", workersMax=2)


@remote(paid)
def pay(port: int, number: int) -> int:
    with socket.create_connection(("127.0.0.1", port)) as line, line.makefile("rw") as lines:
        lines.write(f"{os.getpid()} {number}\\n")
        lines.flush()
        lines.readline()
    return 2 * number
"""


class Ledger:
    """What jobs have done outside, and by which worker last."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self.payments: Counter[int] = Counter()
        self.last_worker = 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            with line, line.makefile("rw") as lines:
                try:
                    pid, number = lines.readline().split()
                    self.payments[int(number)] += 1
                    self.last_worker = int(pid)
                    lines.write("paid\n")
                    lines.flush()
                except (OSError, ValueError):
                    pass  # the worker was killed before it had said all

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


class Load:
    """Sends jobs until it is told to end; each again, with its key, until it is known to be accepted."""

    def __init__(self, flash: Server, ledger: Ledger) -> None:
        self.flash = flash
        self.ledger = ledger
        self.accepted: dict[int, str] = {}
        # Jobs as their ends were first seen.
        self.ends: dict[int, Any] = {}
        self.wrong: list[object] = []
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._send, args=(sender,)) for sender in range(SENDERS)]
        self.threads.append(threading.Thread(target=self._watch))
        for thread in self.threads:
            thread.start()

    def _send(self, sender: int) -> None:
        number = sender
        while not self.ending.is_set():
            body = {"input": {"port": self.ledger.port, "number": number}, "policy": {"attempts": 1}}
            try:
                answer = post(self.flash, "paid/run", body, **{"Idempotency-Key": f"payment-{number}"})
            except (OSError, http.client.HTTPException):
                self.ending.wait(0.02)  # it is down: the same one again
                continue
            if answer.status == 200:
                self.accepted[number] = answer.json()["id"]
                number += SENDERS
            elif answer.status == 503:  # no worker can be started yet
                self.ending.wait(0.02)
            else:
                self.wrong.append(answer)
                return

    def _watch(self) -> None:
        """Asks for jobs in turn, as clients do: one that was accepted is there always, and one that has ended stays as it is."""
        dice = random.Random()
        while not self.ending.is_set():
            known = list(self.accepted.items())
            if not known:
                self.ending.wait(0.02)
                continue
            # Mostly those of which something becomes now.
            done = sum(self.ledger.payments.values())
            number, job = dice.choice(known[max(0, done - 20) : done + 20] if dice.random() < 0.8 and done < len(known) else known)
            try:
                answer = self.flash.request("GET", f"/v2/paid/status/{job}")
            except (OSError, http.client.HTTPException):
                self.ending.wait(0.02)
                continue
            found = answer.json() if answer.status == 200 else answer
            before = self.ends.get(number)
            if answer.status != 200 or (before is not None and found != before):
                self.wrong.append((before, found))
            elif found["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
                self.ends[number] = found

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()


def test_killed_workers_and_servers_lose_nothing(server: Callable[..., Server], tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)  # shown where the test fails
    dice = random.Random(seed)
    flash = deployed(server(), tmp_path / "project", SOURCE)
    ledger, killed = Ledger(), Counter[str]()
    load = Load(flash, ledger)
    try:
        for _ in range(KILLS):
            before, some = sum(ledger.payments.values()), dice.randrange(1, 40)
            wait_for(lambda before=before, some=some: load.wrong or sum(ledger.payments.values()) >= before + some, "jobs to be done")
            victim = dice.choice(["server", "worker", "both"])
            if victim != "server":
                worker = ledger.last_worker
                if worker in flash.processes():
                    os.kill(worker, signal.SIGKILL)
                else:
                    victim = "server"  # it went with its server
            if victim != "worker":
                flash.end(signal.SIGKILL)
                flash = load.flash = server()
            killed[victim] += 1
        load.end()
        assert not load.wrong
        for number, job in load.accepted.items():
            found = ended(flash, "paid", job)
            assert (found["status"], found["output"]) == ("COMPLETED", 2 * number), found
            assert load.ends.get(number, found) == found, "it has ended once"
            paid, attempts = ledger.payments[number], 1 + found.get("retries", 0)
            assert 1 <= paid <= attempts, (number, paid, found)
    finally:
        load.end()
        ledger.close()
    # At most one job of each sender was accepted without its sender hearing of it.
    assert len(set(ledger.payments) - set(load.accepted)) <= SENDERS
    print(
        f"{len(load.accepted)} jobs, {len(load.ends)} ends seen under way, killed: {dict(killed)}, paid more than once: {sum(n > 1 for n in ledger.payments.values())}"
    )
