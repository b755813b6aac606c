"""How far fastxent and others are from the truth, in units in the last place of float32.

Rows of 2 to 1,000,000 classes, logits with standard deviations from 0.001 to 10,000, one half of the targets
the most likely class. Prints the tables; takes about a minute.

    python -m pip install -e '.[bench]' jax optax torch==2.13.0
    python asv_benchmarks/compare_accuracy.py           # prints the tables
    python asv_benchmarks/compare_accuracy.py --write   # puts them into the README
    python asv_benchmarks/compare_accuracy.py --quick   # few rows: does it work?
"""

import argparse
from functools import partial, reduce
from operator import add

from comparison import accuracy, report
from comparison.contest import new_process
from tqdm import tqdm


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="errors of losses and gradients of float32 logits, in ULP")
    parser.add_argument("--write", action="store_true", help="the tables into README.md")
    parser.add_argument("--quick", action="store_true", help="few rows: does it work?")
    wanted = parser.parse_args(arguments)
    classes = accuracy.CLASSES[:3] if wanted.quick else accuracy.CLASSES
    n_elements = {"n_elements": 1000} if wanted.quick else {}
    names = [name for name, contender in accuracy.CONTENDERS.items() if contender.is_installed()]
    found = {}
    with tqdm(total=len(names) * len(classes) * len(accuracy.SPREADS), unit="step") as bar:
        for name in names:
            with new_process() as run:
                for k in classes:
                    for spread in accuracy.SPREADS:
                        step = partial(accuracy.errors_of, name, k, spread, **n_elements)
                        found[name, k, spread] = run(step)
                        bar.update()

    def cells(which, chosen):
        """Of every contender, over what is chosen."""
        return [
            reduce(add, (e[which] for key, e in found.items() if key[0] == name and chosen(*key[1:])))
            for name in names
        ]

    tables = []
    for which, what in enumerate(("loss", "gradient")):
        rows = {f"{k:,} classes": cells(which, lambda n, _, k=k: n == k) for k in classes}
        rows |= {f"spread {s:g}": cells(which, lambda _, spread, s=s: spread == s) for s in accuracy.SPREADS}
        tables.append(report.error_table(what, names, rows))
    modules = {module for name in names for module in accuracy.CONTENDERS[name].needs}
    content = "\n\n".join([*tables, report.circumstances(modules)])
    report.show(content)
    if wanted.write:
        report.into_readme({"accuracy": content})


if __name__ == "__main__":
    main()
