"""A model that is waited for, and worked on, where it is served."""

import threading
from collections.abc import Iterator

import pytest

from pvdev import attended
from pvdev.attended import Attended


class Model:
    """Has so many rounds of work."""

    def __init__(self, work: int) -> None:
        self.work, self.threads = work, set[str]()

    def service(self, budget: int, now_ns: int) -> bool:
        self.threads.add(threading.current_thread().name)
        self.work -= self.work > 0
        return self.work > 0


class Served(Attended, Model):
    pass


@pytest.fixture
def served() -> Iterator[Served]:
    """In a thread that serves it whenever it wakes."""
    made, ended = Served(3), threading.Event()

    def serve() -> None:
        while not ended.is_set():
            made.service(1, 0)

    thread = threading.Thread(target=serve, name="server")
    thread.start()
    yield made
    ended.set()
    thread.join()
    made.close()


def test_it_is_finished_when_a_round_had_nothing_to_do(served: Served) -> None:
    served.finish()

    assert (served.work, served.threads) == (0, {"server"})


def test_what_is_asked_is_done_by_the_server(served: Served) -> None:
    who: list[str] = []
    served.ask(lambda: who.append(threading.current_thread().name))

    assert who == ["server"]


def test_a_server_that_does_not_serve_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attended, "PATIENCE_S", 0.01)
    alone = Served(0)
    try:
        with pytest.raises(AssertionError, match="the server does not serve"):
            alone.finish()
    finally:
        alone.close()
