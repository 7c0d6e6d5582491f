"""The delays of `benchmarks.delays` on cimba, for an environment that has it: `pip install cimba`.

    python benchmarks/cimba_delays.py PROCESSES DELAYS    ->    cpu seconds of DELAYS, all processes together

cimba (https://github.com/ambonvik/cimba) is an engine in C; its package for Python compiles models with Numba
for it. A run of twice as many delays is measured as well, and the difference taken: what is compiled and set
up once is no cost of a delay.
"""

import sys
from time import process_time

import cimba
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
    processes, delays = int(sys.argv[1]), int(sys.argv[2])
    model = model_of(processes)()
    took = []
    for times in (1, delays // processes, 2 * (delays // processes)):  # the first one compiles
        model.times = times
        start = process_time()
        Experiment(model, seed=1).run(workers=1)
        took.append(process_time() - start)
    print(took[2] - took[1], cimba.__version__)


if __name__ == "__main__":
    main()
