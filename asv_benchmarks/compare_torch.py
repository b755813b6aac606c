"""The losses of fastxent.torch beside PyTorch's own: forward and backward through autograd, and memory.

Each case gets a process, in which both take turns on the same tensors, and give the same loss and gradient,
or the command fails. Prints the table; takes about two minutes. Windows does not tell Python, as other
systems do, how much memory a process took at most: there the command fails.

    python -m pip install -e '.[bench]' torch==2.13.0
    python asv_benchmarks/compare_torch.py           # prints the table
    python asv_benchmarks/compare_torch.py --write   # puts it into the README
    python asv_benchmarks/compare_torch.py --quick   # tiny tensors: does it work?
"""

import argparse
from functools import partial

from benchmarks.rounds import ROUNDS
from comparison import report, torch_losses
from comparison.contest import new_process
from comparison.torch_losses import LOSSES, VOCABULARY
from tqdm import tqdm


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="fastxent.torch beside PyTorch's own losses")
    parser.add_argument("--write", action="store_true", help="the table into README.md")
    parser.add_argument("--quick", action="store_true", help="tiny tensors: does it work?")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns that each loss gets")
    wanted = parser.parse_args(arguments)
    cases, steps, of_memory, n_rounds = torch_losses.CASES, torch_losses.STEPS, VOCABULARY, wanted.rounds
    if wanted.quick:
        cases, steps, n_rounds = torch_losses.TINY_CASES, torch_losses.TINY_STEPS, 2
        of_memory = torch_losses.Case((64, 1024))
    times = {f"{case}": partial(torch_losses.contest, case, n_rounds) for case in cases}
    times |= {f"{step}": partial(torch_losses.alternating, step, n_rounds) for step in steps}
    memory = {name: partial(torch_losses.peak_memory, of_memory, name) for name in LOSSES}
    with tqdm(total=len(times) + len(memory), unit="step") as bar:

        def measured(step):
            with new_process() as run:
                result = run(step)
            bar.update()
            return result

        seconds = {what: measured(step) for what, step in times.items()}
        peaks = {name: measured(step) for name, step in memory.items()}
    table = report.torch_table(seconds, f"memory beside the logits, {of_memory}", peaks)
    circumstances = report.circumstances(["torch"])
    report.show(table, circumstances)
    if wanted.write:
        report.into_readme({"torch": f"{table}\n\n{circumstances}"})


if __name__ == "__main__":
    main()
