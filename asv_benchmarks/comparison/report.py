"""The tables, in Markdown, and the picture; and how they get into the README."""

import io
import itertools
import platform
import re
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import llvmlite.binding as llvm
import numba
import numpy as np

import fastxent

from .accuracy import Errors
from .contenders import CONTENDERS, LIMITS, MEMORY
from .contest import Seconds
from .goals import Goal

PICTURE = Path(__file__).parent.parent / "roofline.svg"
README = Path(__file__).parent.parent.parent / "README.md"


def modules_of(contenders: Iterable[str]) -> set[str]:
    return {module for name in contenders for module in CONTENDERS[name].needs}


def contest_table(seconds: Seconds, what: str = "loss and gradient in place, float32") -> str:
    """Contenders that lost by less than others stand beside those that won: nothing is left out."""
    columns = [what, "fastxent, ms"]
    columns += [f"share of {name}" if name in LIMITS else name for name in seconds]
    lines = [f"| {' | '.join(columns)} |", "|---|--:|" + "--:|" * len(seconds)]
    for case, (ours, _) in next(iter(seconds.values())).items():
        cells = [f"{ours * 1e3:.4g}"]
        for name in seconds:
            beside, theirs = seconds[name][case]
            cells.append(f"{theirs / beside:.2f}" if name in LIMITS else _times(theirs / beside))
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2g}×"


def cost_table(title: str, seconds: dict[str, float]) -> str:
    """Beside the first."""
    base, *_ = seconds
    lines = [f"| {title} | ms | times {base} |", "|---|--:|--:|"]
    lines += [f"| {name} | {s * 1e3:.1f} | {s / seconds[base]:.2f} |" for name, s in seconds.items()]
    return "\n".join(lines)


def torch_table(seconds: dict[str, dict[str, float]], memory: str, peaks: dict[str, float]) -> str:
    """Milliseconds of the first loss, how many times as fast the others are, and the memory of each."""
    first, *others = peaks
    lines = [f"| forward and backward | {first} | {' | '.join(others)} |", "|---|" + "--:|" * len(peaks)]
    for what, by_loss in seconds.items():
        ratios = (f"{_times(by_loss[first] / by_loss[name])} as fast" for name in others)
        lines.append(f"| {what} | {by_loss[first] * 1e3:.3g} ms | {' | '.join(ratios)} |")
    sizes = (f"{peak:.2f} of their size" for peak in peaks.values())
    return "\n".join([*lines, f"| {memory} | {' | '.join(sizes)} |"])


def error_table(what: str, names: list[str], rows: dict[str, list[Errors]]) -> str:
    lines = [f"| {what}, largest / mean error in ULP | {' | '.join(names)} |", "|---|" + "--:|" * len(names)]
    return "\n".join([*lines, *(f"| {row} | {' | '.join(map(str, cells))} |" for row, cells in rows.items())])


def cuda_table(seconds: dict[tuple[tuple[int, int], str], dict[str, float]]) -> str:
    """Each contender's share of the bandwidth of a copy, which reads and writes as much."""
    names = [name for name in next(iter(seconds.values())) if name != "copy"]
    header = f"| loss and gradient | fastxent, ms | share of a copy's bandwidth: {' | '.join(names)} |"
    lines = [header, "|---|--:|" + "--:|" * len(names)]
    for ((n_rows, n_classes), dtype), times in seconds.items():
        shares = [f"{times['copy'] / times[name]:.2f}" for name in names]
        lines.append(
            f"| {n_rows}×{n_classes} {dtype} | {times['fastxent'] * 1e3:.3g} | {' | '.join(shares)} |"
        )
    return "\n".join(lines)


def gpu_circumstances() -> str:
    from numba import cuda

    name = cuda.get_current_device().name
    name = name.decode() if isinstance(name, bytes) else name
    which = getattr(cuda, "implementation", "Built-in")
    return f"{name}, numba.cuda {which}: fastxent {fastxent.__version__}, numba {version('numba')}."


def goal_table(goals: Iterable[Goal]) -> str:
    return "\n".join(["| | asked | measured | met |", "|---|---|--:|---|", *map(str, goals)])


def circumstances(modules: Iterable[str]) -> str:
    """On what, and beside what, it was measured."""
    packages = {"numpy", "numba"} | {{"sklearn": "scikit-learn"}.get(module, module) for module in modules}
    versions = ", ".join(f"{package} {version(package)}" for package in sorted(packages))
    processor = f"{numba.get_num_threads()} threads of a processor that LLVM calls {llvm.get_host_cpu_name()}"
    python = f"{platform.system()}, Python {platform.python_version()}"
    return f"{processor}, {python}: fastxent {fastxent.__version__}, {versions}."


def picture(seconds: Seconds, path: Path) -> None:
    """Bytes that must move, 8 a logit, over time: what a contender reaches under what the limits allow."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fastxent"})
    cases = list(seconds[MEMORY])
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    gigabytes = np.array([8e-9 * np.prod(case.shape) for case in cases])
    ours, _ = np.array([seconds[MEMORY][case] for case in cases]).T
    axes.plot(gigabytes / ours, color="C3", marker="o", linewidth=2.5, label="fastxent")
    colors = (f"C{i}" for i in itertools.count() if i != 3)
    for name in seconds:
        beside, theirs = np.array([seconds[name][case] for case in cases]).T
        speed = gigabytes / ours * beside / theirs  # by the ratio measured in one process
        if name in LIMITS:
            axes.plot(speed, color="black", linestyle=("--", ":")[LIMITS.index(name)], label=name)
        else:
            axes.plot(speed, color=next(colors), marker=".", label=name)
    axes.set_xticks(range(len(cases)), list(map(str, cases)), rotation=20, ha="right")
    axes.set_yscale("log")
    axes.set_ylabel("GB/s, loss and gradient in place")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, metadata={"Date": None})


def show(*sections: str) -> None:
    """Print them, in UTF-8: on Windows a file or pipe may have an encoding that has no ≤."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(*sections, sep="\n\n")


def into_readme(sections: dict[str, str]) -> None:
    text = README.read_text(encoding="utf-8")
    for name, content in sections.items():
        text = between_markers(text, name, content)
    README.write_text(text, encoding="utf-8", newline="\n")


def between_markers(text: str, name: str, content: str) -> str:
    """The text with this between `<!-- name -->` and `<!-- /name -->`, in place of what was there."""
    section = re.compile(f"(<!-- {name} -->).*?(<!-- /{name} -->)", re.DOTALL)
    text, n_found = section.subn(lambda found: f"{found[1]}\n\n{content}\n\n{found[2]}", text)
    if n_found != 1:
        raise ValueError(f"{n_found} sections between <!-- {name} --> and <!-- /{name} -->, not one")
    return text
