"""Loss and gradient on a GPU beside other libraries, as shares of the bandwidth of a copy within its memory.

All take turns on the same memory, and give the same loss and gradient, or the command fails. CUDA's events
are the clock. Prints the table; without a GPU it says so, and measures nothing.

    python -m pip install -e '.[bench,cuda12]' torch liger-kernel  # whichever you want beside fastxent
    python asv_benchmarks/compare_cuda.py
    python asv_benchmarks/compare_cuda.py --quick  # small arrays: does it work?
"""

import argparse
from itertools import product

from benchmarks.on_gpu import DTYPES, SHAPES, why_not
from benchmarks.rounds import ROUNDS
from comparison import cuda_losses, report
from comparison.contest import new_process
from tqdm import tqdm

QUICK_SHAPES = [(64, 1000), (16, 20000)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="fastxent on a GPU beside other libraries")
    parser.add_argument("--quick", action="store_true", help="small arrays: does it work?")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns that each contender gets")
    wanted = parser.parse_args(arguments)
    if why_not():
        print(f"Nothing is measured: {why_not()}.")
        return
    cases = list(product(QUICK_SHAPES if wanted.quick else SHAPES, DTYPES))
    seconds = {}
    for case in tqdm(cases, unit="case"):
        with new_process() as run:
            seconds[case] = run(cuda_losses.contest, *case, 2 if wanted.quick else wanted.rounds)
    report.show(report.cuda_table(seconds), report.gpu_circumstances())


if __name__ == "__main__":
    main()
