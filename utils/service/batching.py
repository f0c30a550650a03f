"""One worker that computes for many callers: a bounded queue, batches of similar length."""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from utils.inference.classifier import BATCH_TOKENS, Classifier
from utils.service.metrics import Metrics

QUEUE_SECONDS = 4.0  # of work that may wait, at the speed measured
MOST_PADDING = 1.1  # tokens of a batch, padded, to those in its texts
WAIT_SECONDS = 0.005  # for company, before an idle worker begins
MOST_LONG_JOBS = 4  # that may wait: each takes seconds


class Unavailable(Exception):
    """No work is taken now; the message says why, `retry_after` is in whole seconds."""

    def __init__(self, why: str, retry_after: int):
        super().__init__(why)
        self.retry_after = retry_after


class DeadlinePassed(Exception):
    """The answer would come too late, so it was not computed."""


@dataclass(eq=False)
class Job:
    """A text's token ids, and the future of its answer."""

    tokens: int  # with padding
    deadline: float  # of time.monotonic
    ids: list[int]
    client: str
    future: Future = field(default_factory=Future)


@dataclass(eq=False)
class LongJob:
    """What is computed in parts, a generator that returns the answer, and the answer's future."""

    deadline: float
    parts: Generator
    future: Future = field(default_factory=Future)


class Engine:
    """A single thread that predicts whatever waits, so that the cores are not fought over.

    It warms up in that thread too: OpenMP keeps a team of threads for each thread that ever
    computed, and where those are more than the cores, each parallel region takes longer.

    Clients take turns: the oldest text of one is in the next batch, with those nearest to it in
    length, whosever they are, as far as BATCH_TOKENS and MOST_PADDING go. What is cancelled or late
    is dropped before it costs anything.
    Long jobs have a queue of their own: after each batch, the oldest of them goes on by a part.
    """

    def __init__(self, classifier: Classifier, metrics: Metrics):
        self.classifier, self.metrics = classifier, metrics
        self.ready = False
        self.closing = False
        self._failed: BaseException | None = None
        self._warm = threading.Event()
        self._model: Future | None = None  # in torch, which gives gradients
        self._waiting: list[Job] = []
        self._long: list[LongJob] = []
        self._turns: dict[str, float] = {}  # of who waits: when it had one, or came
        self._changed = threading.Condition()
        self._tokens_per_second = 0.0
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        metrics.waiting.set_function(lambda: len(self._waiting) + len(self._long))

    def start(self) -> None:
        """Have the worker warm up and take work; returns once it is ready.

        Raises what the warm-up raised, where it failed.
        """
        self._worker.start()
        self._warm.wait()
        if self._failed:
            raise self._failed

    def _warm_up(self) -> None:
        """Compute batches of several lengths, measuring the speed."""
        word = self.classifier.tokenizer.unk_token_id
        try:
            for length in (16, 128, 512, 512):
                if self.closing:
                    return
                batch = [[word] * length] * max(1, BATCH_TOKENS // length)
                started = time.perf_counter()
                self.classifier.softmax(batch)
                self._tokens_per_second = sum(map(len, batch)) / (time.perf_counter() - started)
            self.ready = True
        except Exception as error:
            self._failed = error
        finally:
            self._warm.set()

    @property
    def alive(self) -> bool:
        """False once the warm-up has failed or the worker died; only a restart helps then."""
        return self._failed is None

    def predict(self, ids: list[list[int]], deadline: float, client: str = "") -> list[Future]:
        """Futures of each text's class probabilities, shape (classes,).

        What a `client` asks that waits for nothing is taken where there is too much of others, so
        that one client does not shut out the rest. Raises Unavailable where too much
        waits already, before the warm-up has ended, after `close`, and once the worker died; then
        none of the texts is taken.
        """
        jobs = [Job(_padded(row), deadline, row, client) for row in ids]
        with self._changed:
            self._require_ready()
            self._drop()
            waiting = self._seconds_by_client()
            seconds, most = sum(waiting.values()), QUEUE_SECONDS
            more = sum(job.tokens for job in jobs) / self._tokens_per_second
            if client not in waiting and more <= QUEUE_SECONDS:
                # It has its turn, however much of one other client's waits.
                seconds = sum(min(QUEUE_SECONDS, one) for one in waiting.values())
                most = 2 * QUEUE_SECONDS
            # One request is taken however long it is, as long as nothing else waits.
            if waiting and seconds + more > most:
                self._refuse("Too much is waiting already.", max(1, math.ceil(seconds)))
            self._turns.setdefault(client, time.monotonic())  # who comes is the last in turn
            self._waiting += jobs
            self._changed.notify()
        return [job.future for job in jobs]

    def _seconds_by_client(self) -> dict[str, float]:
        """How long what waits of each client takes, at the speed measured."""
        found = Counter()
        for job in self._waiting:
            found[job.client] += job.tokens / self._tokens_per_second
        return found

    def run(self, parts: Generator, deadline: float) -> Future:
        """The future of what a generator returns, which the worker runs part by part.

        Raises Unavailable as `predict` does, or where MOST_LONG_JOBS wait already, and
        DeadlinePassed where the model that they need is not loaded by then.
        """
        job = LongJob(deadline, parts)
        with self._changed:
            self._require_ready()
            if self._model is None:
                # Where another runtime predicts, the model is loaded once it is asked for: in a
                # thread of its own, so that predictions go on, which then ends.
                loader = ThreadPoolExecutor(1, "loader")
                self._model = loader.submit(lambda: self.classifier.model)
                loader.shutdown(wait=False)
        if not wait([self._model], deadline - time.monotonic()).done:
            raise DeadlinePassed
        self._model.result()  # or what the loading raised, which would be raised again
        with self._changed:
            self._require_ready()
            self._drop()
            if len(self._long) >= MOST_LONG_JOBS:
                self._refuse("Too many long requests are waiting already.", 2)
            self._long.append(job)
            self._changed.notify()
        return job.future

    def _require_ready(self) -> None:
        if self._failed:
            raise _broken()
        if not self.ready:
            raise Unavailable("The model is not ready yet.", 1)
        if self.closing:
            self._refuse("It is stopping.", 1)

    def _refuse(self, why: str, retry_after: int) -> None:
        self.metrics.refused.inc()
        raise Unavailable(why, retry_after)

    def close(self) -> None:
        """Take no more work; what waits is still answered."""
        with self._changed:
            self.closing = True
            self._changed.notify()

    def finished(self, seconds: float) -> bool:
        """After `close`: whether the worker has ended, waiting so many seconds for it at most."""
        if self._worker.ident is not None:
            self._worker.join(seconds)
        return not self._worker.is_alive()

    def _work(self) -> None:
        self._warm_up()
        batch = []
        try:
            while self.ready:
                with self._changed:
                    while not self._waiting and not self._long and not self.closing:
                        self._changed.wait()
                    if not self._waiting and not self._long:
                        return
                    if len(self._waiting) == 1 and not self._long and not self.closing:
                        self._changed.wait(WAIT_SECONDS)
                    batch = self._take()
                    long = self._long[0] if self._long else None
                if batch:
                    self._answer(batch)
                if long:
                    self._go_on(long)
        except BaseException as error:
            self._give_up(error, batch)
            raise

    def _give_up(self, error: BaseException, batch: list[Job]) -> None:
        """Tell whoever waits that the worker died; else each would wait until its deadline."""
        with self._changed:
            self._failed = error
            jobs = [*self._waiting, *self._long]
            waiting = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            self._waiting, self._long = [], []
        for job in batch + waiting:
            if not job.future.done():
                job.future.set_exception(_broken())

    def _drop(self) -> None:
        """Forget the jobs that nobody waits for any more."""
        now = time.monotonic()
        for queue in (self._waiting, self._long):
            for job in [j for j in queue if j.deadline <= now or j.future.cancelled()]:
                queue.remove(job)
                self.metrics.dropped.inc()
                if job.future.set_running_or_notify_cancel():  # else it was cancelled
                    job.future.set_exception(DeadlinePassed())

    def _take(self) -> list[Job]:
        self._drop()
        if not self._waiting:
            return []
        oldest = self._next_in_turn()
        batch, longest, total = [oldest], oldest.tokens, oldest.tokens
        others = [job for job in self._waiting if job is not oldest]
        for job in sorted(others, key=lambda job: abs(job.tokens - oldest.tokens)):
            padded = (len(batch) + 1) * max(longest, job.tokens)
            if padded > BATCH_TOKENS or padded > MOST_PADDING * (total + job.tokens):
                break
            total += job.tokens
            batch.append(job)
            longest = max(longest, job.tokens)
        taken = set(batch)
        self._waiting = [job for job in self._waiting if job not in taken]
        return [job for job in batch if job.future.set_running_or_notify_cancel()]

    def _next_in_turn(self) -> Job:
        """The oldest job of the client whose turn was longest ago."""
        clients = dict.fromkeys(job.client for job in self._waiting)
        self._turns = {client: self._turns[client] for client in clients}
        client = min(clients, key=self._turns.get)
        self._turns[client] = time.monotonic()
        return next(job for job in self._waiting if job.client == client)

    def _go_on(self, job: LongJob) -> None:
        """Compute one part of a long job, and answer it where that was the last one."""
        answer = error = None
        try:
            next(job.parts)
            return
        except StopIteration as finished:
            answer = finished.value
        except Exception as raised:
            error = raised
        with self._changed:
            if job not in self._long:  # it was dropped meanwhile
                return
            self._long.remove(job)
        if job.future.set_running_or_notify_cancel():
            if error:
                job.future.set_exception(error)
            else:
                job.future.set_result(answer)

    def _answer(self, batch: list[Job]) -> None:
        started = time.perf_counter()
        try:
            rows = self.classifier.softmax([job.ids for job in batch])
        except Exception:
            # One text may be the cause: each is tried alone, so that the others are answered.
            for job in batch:
                _settle(job.future, lambda job=job: self.classifier.softmax([job.ids])[0])
            return
        tokens = sum(job.tokens for job in batch)
        speed = tokens / (time.perf_counter() - started)
        # Small batches are slow for what they hold: they say little of the speed of a full queue.
        weight = 0.1 * min(1.0, tokens / BATCH_TOKENS) ** 2
        self._tokens_per_second += weight * (speed - self._tokens_per_second)
        self.metrics.batch_texts.observe(len(batch))
        self.metrics.tokens.inc(tokens)
        for job, row in zip(batch, rows, strict=True):
            job.future.set_result(row)


def _padded(ids: list[int]) -> int:
    """The tokens that a text costs: batches are padded to multiples of 16."""
    return -(-len(ids) // 16) * 16


def _broken() -> Unavailable:
    return Unavailable("The service does not work any more: restart it.", 1)


def _settle(future: Future, function: Callable) -> None:
    try:
        future.set_result(function())
    except Exception as error:
        future.set_exception(error)
