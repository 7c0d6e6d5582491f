"""What queueing theory says: closed and open queues with one server, and the ticket lock's Markov model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import comb, exp

import numpy as np


def mva(threads: int, think: float, service: float) -> float:
    """Throughput of a closed network of a delay and one exponential server: exact mean value analysis."""
    queue, result = 0.0, 0.0
    for n in range(1, threads + 1):
        response = service * (1 + queue)
        result = n / (think + response)
        queue = result * response
    return result


def constant_service(threads: int, think: float, service: float) -> float:
    """Throughput of M/D/1//n, from the chain of the numbers that departures leave behind."""
    arrives = 1 - exp(-service / think)  # one thinking thread arrives during a service
    chain = np.zeros((threads, threads))
    for left in range(threads):
        queued = max(left, 1)  # an empty server waits for the next arrival
        for new in range(threads - queued + 1):
            chain[left, queued - 1 + new] += (
                comb(threads - queued, new) * arrives**new * (1 - arrives) ** (threads - queued - new)
            )
    balance = np.vstack([chain.T - np.eye(threads), np.ones(threads)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(threads), 1.0), rcond=None)[0]
    return float(1 / (service + stationary[0] * think / threads))


def lindley(arrivals: Sequence[int], service: int) -> Iterator[int]:
    """The wait of each arrival at a first-come-first-served server: W' = max(0, W + service - gap)."""
    free = 0
    for arrival in arrivals:
        free = max(free, arrival)
        yield free - arrival
        free += service


def mean_wait(load: float, service: float) -> float:
    """M/D/1: the mean wait in the queue (Pollaczek and Khinchine)."""
    return load * service / (2 * (1 - load))


def ticket_speedup(threads: int, think: float, section: float, read: float) -> float:
    """Boyd-Wickizer et al., Non-scalable locks are dangerous (2012): how many threads' work gets done.

    With k threads at the lock, the next one arrives at rate (threads - k) / think, and the holder is followed
    at rate 1 / (section + read (k - 1) / 2): a release makes the k - 1 waiters load the word again, *read*
    apart, and the one whose turn it is comes anywhere among them.
    """
    served = [1 / (section + read * (k - 1) / 2) for k in range(1, threads + 1)]
    weight, weights = 1.0, [1.0]
    for k, rate in enumerate(served):
        weight *= (threads - k) / think / rate
        weights.append(weight)
    throughput = sum(w * rate for w, rate in zip(weights[1:], served, strict=True)) / sum(weights)
    return throughput * (think + section)
