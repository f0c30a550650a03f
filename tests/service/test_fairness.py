"""Shares and turns of clients."""

import threading
import time

import pytest

from utils.service.fairness import FairLock, Shares


def test_a_share_is_of_each_client():
    shares = Shares(2)
    assert [shares.take("a") for _ in range(3)] == [True, True, False]
    assert shares.take("b")
    shares.give_back("a")
    assert shares.take("a")
    for client in "aab":
        shares.give_back(client)
    assert not shares._held


def later() -> float:
    return time.monotonic() + 10


def test_a_client_with_one_request_waits_for_one_of_another_client():
    lock, order = FairLock(), []
    assert lock.acquire("many", later())

    def ask(client: str) -> None:
        assert lock.acquire(client, later())
        order.append(client)
        lock.release()

    threads = []
    for client in ["many"] * 5 + ["one"]:
        threads.append(threading.Thread(target=ask, args=[client]))
        threads[-1].start()
        while sum(map(len, lock._waiting.values())) < len(threads):
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join(10)
    assert order == ["many", "one", *["many"] * 4]
    assert lock.acquire("any", 0)  # it is free again


@pytest.mark.parametrize("others", [0, 1])
def test_who_waits_in_vain_is_forgotten(others):
    lock = FairLock()
    assert lock.acquire("a", later())
    waiting = [threading.Thread(target=lock.acquire, args=["b", later()]) for _ in range(others)]
    for thread in waiting:
        thread.start()
    assert not lock.acquire("b", time.monotonic() + 0.05)
    lock.release()
    for thread in waiting:
        thread.join(10)
        lock.release()
    assert not lock._waiting
    assert lock.acquire("c", 0)
