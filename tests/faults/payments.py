"""Payments in flight: paid orders and refunds, posted from threads as Stripe does, again and again until acknowledged."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
import uuid
from collections import Counter

import requests

from tests.stack import Stack, checkout_event, make_course, make_students, order, sign

# Seconds until an event that was not acknowledged is posted again; Stripe takes longer.
AGAIN = 0.3
THREADS = 6
AMOUNT = 19900


class Payments:
    """Some students' payments for one course each; a part of them is refunded a moment later."""

    def __init__(
        self,
        stack: Stack,
        count: int,
        *,
        refunds: int = 0,
        course: tuple[str, str] | None = None,
        prefix: str = "student",
        spread: float = 0.0,
    ) -> None:
        """Plan the posts over `spread` seconds: each student's checkout, one in ten twice, and the refunds."""
        self._stack = stack
        self.provider, self.course = course or make_course()
        self.students = make_students(count, prefix)
        self.refunded = set(self.students[:: max(1, count // refunds)][:refunds] if refunds else ())
        self.events: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self._plan: list[tuple[float, bytes]] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        for number, student in enumerate(random.sample(self.students, count)):
            self._plan_student(student, spread * number / count)
        heapq.heapify(self._plan)

    def _plan_student(self, student: str, at: float) -> None:
        intent = f"pi_{uuid.uuid4().hex[:24]}"
        bought = checkout_event(order(student, self.provider, self.course), payment_intent=intent)
        posts = [(at, bought)]
        if random.random() < 0.1:
            posts.append((at + random.random(), bought))
        if student in self.refunded:
            posts.append((at + 3 * random.random(), refund_event(intent)))
        self._plan += posts
        self.events |= {json.loads(body)["id"] for _, body in posts}

    def start(self) -> Payments:
        """Post in the background."""
        self._started = time.monotonic()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()
        return self

    @property
    def posting(self) -> bool:
        """Whether some event is still to be acknowledged."""
        return any(thread.is_alive() for thread in self._threads)

    def finish(self, seconds: float = 60) -> Payments:
        """Return when every event was acknowledged."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late, unexpected = self.posting, {code for code in self.statuses if code != 200 and code < 500}
        self._stop.set()
        assert not late, f"not all events were acknowledged within {seconds} s: {self.statuses}"
        assert not unexpected, f"the api answered {unexpected} to a good event"
        return self

    def post(self, seconds: float = 60) -> Payments:
        """Post everything and return when it was acknowledged."""
        return self.start().finish(seconds)

    def _post_all(self) -> None:
        with requests.Session() as connection:
            while not self._stop.is_set():
                with self._lock:
                    if not self._plan:
                        return
                    at, body = heapq.heappop(self._plan)
                self._stop.wait(max(0.0, self._started + at - time.monotonic()))
                while not self._stop.is_set() and not self._post(connection, body):
                    self._stop.wait(AGAIN)

    def _post(self, connection: requests.Session, body: bytes) -> bool:
        started = time.monotonic()
        headers = {"Stripe-Signature": sign(body), "Content-Type": "application/json"}
        try:
            url = f"{self._stack.api_url}/api/stripe/webhook"
            status = connection.post(url, data=body, headers=headers, timeout=10).status_code
        except requests.RequestException:
            status = 599
        with self._lock:
            self.statuses[status] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
        return status == 200


def refund_event(intent: str) -> bytes:
    """Return the event that tells of a payment that went back whole."""
    charge = {
        "id": f"ch_{intent[3:]}",
        "object": "charge",
        "payment_intent": intent,
        "amount": AMOUNT,
        "amount_refunded": AMOUNT,
        "refunded": True,
    }
    event = {
        "id": f"evt_{uuid.uuid4().hex[:24]}",
        "object": "event",
        "created": int(time.time()),
        "livemode": False,
        "type": "charge.refunded",
        "data": {"object": charge},
    }
    return json.dumps(event).encode()
