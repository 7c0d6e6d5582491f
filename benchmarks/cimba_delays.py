"""The delays of `benchmarks.delays` on cimba, for an environment that has it: `pip install cimba`.

    python benchmarks/cimba_delays.py PROCESSES DELAYS ROUNDS    ->    cpu seconds of DELAYS, each round

cimba (https://github.com/ambonvik/cimba) is an engine in C; its package for Python compiles models with Numba
for it. A run of twice as many delays is measured as well, and the difference taken: what is compiled and set
up once is no cost of a delay.
"""

import sys
from time import process_time

from cimba import Experiment, Model, Param, hold, process


def model_of(processes: int) -> type[Model]:
    class Delays(Model):
        times: Param[int] = 1
        started: int = 0

        @process(copies=processes)
        def body(self):
            delay = 1000 + self.started * 7919 % 997
            self.started += 1
            for _ in range(self.times):
                hold(delay)

    return Delays


def main() -> None:
    processes, delays, rounds = map(int, sys.argv[1:])
    each = delays // processes
    model = model_of(processes)()
    seconds_of(model, 1)  # compiles
    print(*(seconds_of(model, 2 * each) - seconds_of(model, each) for _ in range(rounds)))


def seconds_of(model: Model, times: int) -> float:
    model.times = times
    start = process_time()
    Experiment(model, seed=1).run(workers=1)
    return process_time() - start


if __name__ == "__main__":
    main()
