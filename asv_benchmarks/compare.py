"""fastxent beside other libraries, the limits of memory and arithmetic, and what was asked of it.

Every contender that is installed gets a process, in which it and fastxent take turns on the same arrays, and
computes the same loss and gradient, or the command fails. Prints tables; takes about ten minutes.

    python -m pip install -e '.[bench]' scipy scikit-learn jax optax torch==2.13.0
    python asv_benchmarks/compare.py           # prints the tables
    python asv_benchmarks/compare.py --write   # puts them into the README, with AVX-512 its picture too
    python asv_benchmarks/compare.py --quick   # tiny arrays, few options: does it work?
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from comparison import activations, goals, options, report
from comparison.contenders import CONTENDERS, MEMORY, Contender
from comparison.contest import CASES, TINY_CASES, Case, Seconds, contest, new_process
from tqdm import tqdm

from fastxent.simd import has_long_registers


def installed(contenders: dict[str, Contender]) -> list[str]:
    names = [name for name, contender in contenders.items() if contender.is_installed()]
    for name in [name for name in contenders if name not in names]:
        print(f"{name} is left out: not installed")
    return names


def contests(
    measure: Callable[..., Any],
    names: list[str],
    cases: Sequence[Any],
    n_rounds: int,
    done: Callable[[], Any],
) -> Seconds:
    """In a process for each contender."""
    seconds: Seconds = {}
    for name in names:
        with new_process() as run:
            seconds[name] = {}
            for case in cases:
                seconds[name][case] = run(measure, name, case, n_rounds)
                done()
    return seconds


def measured_goals(seconds: Seconds, sizes: goals.Sizes, done: Callable[[], Any]) -> list[goals.Goal]:
    found = []
    for step in goals.steps(sizes):
        with new_process() as run:
            found.append(run(step))
        done()
    shapes = [case.shape for case in seconds[MEMORY] if len(case.shape) == 2]
    found += goals.avx2(shapes, sizes.n_rounds)
    done()
    for shape in goals.FIRST_CALLS:
        found += goals.first_call(shape, sizes.n_first_calls)
        done()
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="fastxent beside other libraries and both limits")
    parser.add_argument(
        "--write", action="store_true", help="tables into README.md, and its picture with AVX-512"
    )
    parser.add_argument("--quick", action="store_true", help="tiny arrays, few options: does it work?")
    parser.add_argument(
        "--rounds", type=int, help="turns that each contender gets; 11 unless told, or 2 if quick"
    )
    wanted = parser.parse_args(arguments)
    cases, sizes = (TINY_CASES, goals.TINY) if wanted.quick else (CASES, goals.Sizes())
    sizes = sizes._replace(n_rounds=wanted.rounds or sizes.n_rounds)
    names, libraries = installed(CONTENDERS), installed(activations.LIBRARIES)
    activation_cases = activations.TINY_CASES if wanted.quick else activations.CASES
    n_steps = len(names) * len(cases) + len(goals.steps(sizes)) + 1 + len(goals.FIRST_CALLS) + 2
    n_steps += len(libraries) * len(activation_cases)
    with tqdm(total=n_steps, unit="step") as bar:
        seconds = contests(contest, names, cases, sizes.n_rounds, bar.update)
        of_activations = contests(
            activations.contest, libraries, activation_cases, sizes.n_rounds, bar.update
        )
        found = measured_goals(seconds, sizes, bar.update)
        with new_process() as run:
            n_rounds = 4 * sizes.n_rounds  # differences of a few hundredths, in little time
            names_of_options = options.FEW if wanted.quick else None
            of_options = run(options.times_of_options, sizes.vocabulary, n_rounds, names_of_options)
            bar.update()
            of_dtypes = run(options.times_of_dtypes, sizes.vocabulary, n_rounds)
            bar.update()
    found = [*goals.beside_contenders(seconds), *found]
    circumstances = report.circumstances(report.modules_of(seconds))
    table = report.contest_table(seconds)
    costs = "\n\n".join(
        (
            report.cost_table(f"{Case(sizes.vocabulary)} float32 in place", of_options),
            report.cost_table(f"{Case(sizes.vocabulary)} in place", of_dtypes),
        )
    )
    activation_table = report.contest_table(of_activations, "float32")
    report.show(circumstances, table, activation_table, costs, report.goal_table(found))
    if wanted.write:
        if has_long_registers():
            report.picture(seconds, report.PICTURE)
            contest_section = f"{table}\n\n{circumstances}"
            sections = {"contest": contest_section, "activations": activation_table, "costs": costs}
        else:
            sections = {"without AVX-512": "\n\n".join((table, activation_table, costs, circumstances))}
        report.into_readme(sections)


if __name__ == "__main__":
    main()
