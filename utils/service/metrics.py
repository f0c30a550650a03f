"""What the service counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The counters of one service, in a registry of its own."""

    def __init__(self):
        self.registry = CollectorRegistry()
        own = {"namespace": "reviews", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests by route and status", ["route", "status"], **own
        )
        self.seconds = Histogram(
            "request_seconds",
            "Time from a request's arrival to its answer",
            ["route"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16),
            **own,
        )
        self.waiting = Gauge("waiting_texts", "Texts in the queue", **own)
        self.batch_texts = Histogram(
            "batch_texts", "Texts in a batch", buckets=(1, 2, 4, 8, 16, 32, 64, 128), **own
        )
        self.tokens = Counter("tokens", "Tokens that were computed", **own)
        self.refused = Counter(
            "refused", "Requests refused because too many were at work, or too much waited", **own
        )
        self.dropped = Counter("dropped_texts", "Texts dropped: late, or their client gone", **own)
