"""Each call gives what the reference gives or is refused, and writes nothing but its results.

python -m tests.fuzz 20000           # so many calls, 500 for each seed
python -m tests.fuzz 500 --seed 17   # those of one seed again
"""

import argparse
import collections
import inspect
import warnings

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

import fastxent
from fastxent import reference
from tests.disguises import owner_of
from tests.hostile_arguments import MANY
from tests.hostile_calls import calls
from tests.tolerances import FUZZ_RELATIVE

REFUSALS = TypeError, ValueError, IndexError


def outcome_of(call):
    """The class of the error, or None for a call that gives what the reference gives."""
    function, arguments = getattr(fastxent, call.function), call.arguments
    owners = [owner_of(a) for a in arguments.values() if isinstance(a, np.ndarray) and not a.dtype.hasobject]
    before = [owner.copy() for owner in owners]
    outs = {name: a for name, a in arguments.items() if name.endswith("out")}
    truth = None if call.is_bad else _Truth(call.function, arguments)
    stored = {} if call.is_bad else {name: np.array(a) for name, a in outs.items()}
    refusal = results = None
    try:
        results = function(**arguments)
    except REFUSALS as error:
        refusal = error
    assert (refusal is not None) == call.is_bad, refusal or "not refused"
    if call.is_bad:
        assert any(name in str(refusal) for name in inspect.signature(function).parameters), refusal
    else:
        truth.check(results, outs)
    for name, values in stored.items():
        outs[name][...] = values
    for owner, its_bytes in zip(owners, before, strict=True):
        assert np.array_equal(owner, its_bytes), "wrote elsewhere"
    return None if refusal is None else type(refusal)


def _as_float64(a):
    return np.array(a).astype(np.float64)


class _Truth:
    """What the reference gives, in float64, and how large the numbers are that results are made of."""

    def __init__(self, function, given):
        self.name, self.axis = function, given.get("axis", -1)
        logits = given["logits"] if "logits" in given else given["probs"]
        self.dtype, self.x = np.asarray(logits).dtype, _as_float64(logits)
        self.given = {"reduction": "mean"} if "targets" in given else {}
        self.given |= {name: self._plain(name, value) for name, value in given.items()}
        self.outs = {name: a for name, a in self.given.items() if name.endswith("out")}
        with np.errstate(all="ignore"):
            self.results = self.outs | self._named(self._solution())

    def _plain(self, name, value):
        if name in ("logits", "probs", "grad", "weight", "pos_weight", "sample_weight"):
            return _as_float64(value)
        if name.endswith("out"):
            return np.zeros(value.shape, np.int64 if name == "rank_out" else np.float64)
        if name == "targets":
            y = np.asarray(value)
            return y.astype(np.int64) if y.dtype.kind in "iub" else _as_float64(y)
        return float(value) if isinstance(value, np.floating) else value

    def _solution(self):
        targets = self.given.get("targets")
        if self.x.shape[self.axis] > 0 or targets is None or targets.dtype.kind == "f":
            return getattr(reference, self.name)(**self.given)
        # The reference reads a logit of rows that are left out; of no classes there is none.
        loss = np.zeros(targets.shape) if self.given["reduction"] == "none" else 0.0
        return (loss, self.x) if self.name.endswith("with_grad") else loss

    def _named(self, solution):
        if self.name.endswith("with_grad"):
            return {"loss": solution[0], "grad": solution[1]}
        return {"loss" if "targets" in self.given else "result": solution}

    def _dtypes(self):
        """Of the results, where no array was given for them."""
        of_rows = np.dtype(np.float32) if self.dtype.itemsize == 2 else self.dtype
        return {
            "loss": of_rows if self.given.get("reduction") == "none" else np.dtype(np.float64),
            "grad": self.dtype,
            "result": of_rows if self.name in ("logsumexp", "entropy") else self.dtype,
        }

    def check(self, solution, outs):
        named = self._named(solution)
        self._check_places(named, outs)
        others = {name: a for name, a in outs.items() if name not in ("out", "grad_out")}
        with np.errstate(all="ignore"):
            sizes = self._sizes()
            for name, result in (named | others).items():
                result, truth = np.asarray(result), np.asarray(self.results[name])
                assert result.shape == truth.shape, f"{name} has shape {result.shape}, not {truth.shape}"
                size = sizes[name] if name in sizes else sizes["else"]
                self._check(name, result, truth, size)

    def _check_places(self, named, outs):
        """Results are in the arrays given for them, and others of the dtype that is promised."""
        places = {"grad": outs.get("grad_out"), "result": outs.get("out")}
        if self.given.get("reduction") == "none":
            places["loss"] = outs.get("loss_out")
        for name, result in named.items():
            if places.get(name) is not None:
                assert result is places[name], f"{name} is not where it was to be"
            else:
                dtype, wanted = np.asarray(result).dtype, self._dtypes()[name]
                assert dtype == wanted, f"{name} is {dtype}, not {wanted}"

    def _check(self, name, result, truth, size):
        if result.dtype.kind == "i":
            wrong = result != truth
        else:
            expected = truth.astype(result.dtype).astype(np.float64)
            computed, stored = (
                np.finfo(self.dtype if self.dtype.itemsize > 2 else np.float32),
                _finfo(result.dtype),
            )
            allowed = FUZZ_RELATIVE[computed.dtype] * (np.nan_to_num(size) + np.abs(truth))
            allowed += float(stored.eps) * np.abs(truth) + 2 * float(stored.smallest_normal)
            found = result.astype(np.float64)
            wrong = ~(
                (np.abs(found - truth) <= allowed) | (found == expected) | (np.isnan(found) & np.isnan(truth))
            )
        if np.any(wrong):
            at = tuple(np.argwhere(wrong)[0])
            raise AssertionError(f"{name}{at} is {result[at]!r}, not {truth[at]!r}; {np.sum(wrong)} wrong")

    def _sizes(self):
        """Of the terms of each result, besides the result itself; for each element, row, or for all."""
        given, scale = self.given, self.given.get("logit_scale", 1.0)
        of_infinity = (given.get("softcap") or 0) / scale
        x = np.where(np.isfinite(self.x), self.x, of_infinity)
        n_classes = x.shape[self.axis]
        lse = 1 + np.abs(x).max(self.axis, initial=0) * scale + np.log(1 + n_classes)
        if self.name in ("softmax", "log_softmax"):
            lse = np.expand_dims(lse, self.axis)
            return {"result": lse * (np.abs(self.results["result"]) if self.name == "softmax" else 1)}
        if self.name in ("logsumexp", "sigmoid", "entropy"):
            return {"result": {"logsumexp": lse, "sigmoid": 0, "entropy": n_classes}[self.name]}
        if self.name == "softmax_grad":
            g = given["grad"]
            return {"result": np.abs(x) * (1 + _largest(g)) * (1 + np.abs(x).sum(self.axis, keepdims=True))}
        if self.name.startswith("binary"):
            weight = _largest(given.get("weight", 1.0)) * (1 + _largest(given.get("pos_weight", 1.0)))
            loss = weight * (1 + np.abs(x))
            return {
                "loss": loss if given["reduction"] == "none" else np.sum(loss) / self._divisor(x.size),
                "loss_out": loss,
                "grad": weight / self._divisor(x.size),
            }
        y, s = given["targets"], given.get("sample_weight", np.ones(lse.shape))
        w = given.get("weight", np.ones(n_classes))
        mass, total = _largest(w) * np.ones(lse.shape), s
        if y.dtype.kind == "f":
            mass = mass * (1 + np.moveaxis(np.where(np.isfinite(y), y, 0), self.axis, -1).sum(-1))
            if self.name.startswith("kl"):
                mass = mass * (1 + np.abs(np.log(y[(y > 0) & np.isfinite(y)])).max(initial=0))
        elif n_classes:
            kept = y != given.get("ignore_index", -100)
            total = np.where(kept, s * w[np.where(kept, y, 0)], 0)
        z_loss = given.get("z_loss", 0)
        slope = s * lse * (mass * (1 + given.get("focal_gamma", 0)) + z_loss * lse)
        divisor = self._divisor(np.sum(total))
        spread = np.expand_dims(slope, self.axis) / divisor
        return {
            "loss": slope if given["reduction"] == "none" else np.sum(slope) / divisor,
            "loss_out": slope,
            "grad": spread * scale,
            "hess_out": spread * scale**2,
            "targets_grad_out": spread,
            "else": lse,
        }

    def _divisor(self, total):
        if self.given["reduction"] != "mean":
            return 1
        return self.given.get("normalizer") or total or 1


def _finfo(dtype):
    if dtype.name != "bfloat16":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def _largest(a):
    return np.abs(np.where(np.isfinite(a), a, 0)).max(initial=0)


# Nothing is shrunk where each step might compile a kernel.
AS_DRAWN = settings(
    max_examples=500,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("n_calls", type=int)
    parser.add_argument("--seed", type=int, default=0, help="the first; each is good for 500 calls")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    outcomes, failures = collections.Counter(), []

    @AS_DRAWN
    @given(calls(MANY))
    def run(call):
        try:
            refusal = outcome_of(call)
        except Exception as error:
            failures.append(error)
            print(f"{error!r}: {call}"[:2000])
        else:
            outcomes[call.function, "refused" if refusal else "agreed"] += 1

    for number in range(arguments.seed, arguments.seed + -(-arguments.n_calls // 500)):
        seed(number)(run)()
        print(
            f"seed {number}: {sum(outcomes.values())} calls as they should be, {len(failures)} not",
            flush=True,
        )
    print(*(f"{function} {outcome}: {n}" for (function, outcome), n in sorted(outcomes.items())), sep="\n")
    raise SystemExit(len(failures) > 0)


if __name__ == "__main__":
    main()
