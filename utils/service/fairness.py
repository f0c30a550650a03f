"""What one client may hold of what all share, by its address."""

import threading
import time
from collections import Counter, OrderedDict, deque


class Shares:
    """How many of something each client has, of `most` at once."""

    def __init__(self, most: int):
        self.most = most
        self._lock, self._held = threading.Lock(), Counter()

    def take(self, client: str) -> bool:
        """Whether the client had less than its share, and so has one more."""
        with self._lock:
            if self._held[client] >= self.most:
                return False
            self._held[client] += 1
            return True

    def give_back(self, client: str) -> None:
        """What `take` gave."""
        with self._lock:
            self._held[client] -= 1
            self._held += Counter()  # forgets who holds none


class FairLock:
    """A lock that clients get in turns, however many requests of one of them wait for it."""

    def __init__(self):
        self._lock, self._held = threading.Lock(), False
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()

    def acquire(self, client: str, deadline: float) -> bool:
        """Wait for the lock until the deadline (of time.monotonic); False where that passed."""
        turn = threading.Event()
        with self._lock:
            if not self._held:
                self._held = True
                return True
            self._waiting.setdefault(client, deque()).append(turn)
        if turn.wait(max(0.0, deadline - time.monotonic())):
            return True
        with self._lock:
            if turn.is_set():  # it came meanwhile
                return True
            self._waiting[client].remove(turn)
            if not self._waiting[client]:
                del self._waiting[client]
        return False

    def release(self) -> None:
        """Hand the lock to the oldest request of the client that has waited longest for a turn."""
        with self._lock:
            if not self._waiting:
                self._held = False
                return
            client, turns = self._waiting.popitem(last=False)
            turns.popleft().set()
            if turns:
                self._waiting[client] = turns  # at the end
