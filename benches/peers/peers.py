"""Times this crate beside Python's libraries: the same arrays, one process, round-robin.

Install:  pip install numpy onnx onnxruntime scikit-learn scikit-learn-intelex torch
          (daal4py is a part of scikit-learn-intelex; older versions had it as a package of its own)
Run:      python peers.py [--threads N] [--rounds N] [--shape 64x256] [--library PATH]

What is not installed is skipped; numpy alone is needed. This crate is called through a C interface (src/lib.rs), which
cargo builds at the start unless --library names it. Its times contain a call from Python, as everyone's do.
"""

import argparse
import ctypes
import functools
import gc
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = [
    (64, 256), (1024, 512), (65536, 128), (1_000_000, 5), (6, 5), (64, 65536),
    (8, 64, 56, 56), (8, 256, 14, 14), (8, 512, 7, 7),
]  # fmt: skip
# Fused: inference, a residual added, and a ReLU. Backward: training's gradients of inputs, weight and bias.
MOMENTS, INFERENCE, TRAINING, FUSED, BACKWARD = OPS = "moments", "inference", "training", "fused", "backward"
EPS, MOMENTUM = 1e-5, 0.1
ROUND_SECONDS = 2e-3


class Case:
    """A batch and a layer's parameters, all of f32."""

    def __init__(self, shape):
        self.shape = shape
        self.name = "x".join(map(str, shape))
        self.features = shape[1]
        self.axes = tuple(axis for axis in range(len(shape)) if axis != 1)
        self.count = np.prod([shape[axis] for axis in self.axes])
        # A small mean: libraries that add up in f32 come close to the answer, so that only a wrong call is far off.
        random = np.random.default_rng(1)
        self.x = random.random(shape, dtype=np.float32) * 2 - np.float32(0.5)
        # The residual, or the gradients of outputs.
        self.other = random.random(shape, dtype=np.float32) * 2 - np.float32(0.5)
        t = (np.arange(self.features, dtype=np.float32) % 8) / 8
        self.weight, self.bias, self.mean, self.variance = 0.5 + t, t - 0.5, 0.25 * t, 0.5 + t

    def spread(self, values):
        """One value per feature, shaped to broadcast."""
        return values.reshape([-1 if axis == 1 else 1 for axis in range(len(self.shape))])


class This:
    """This crate."""

    def __init__(self, options):
        # Read by rayon when it starts.
        os.environ["RAYON_NUM_THREADS"] = str(options.threads)
        self.library = ctypes.CDLL(options.library or build())
        self.library.layer_new.restype = ctypes.c_void_p
        for name in "layer_moments", "layer_eval", "layer_train", "layer_fused", "layer_backward":
            getattr(self.library, name).restype = ctypes.c_bool
        manifest = (HERE / "../../Cargo.toml").read_text()
        self.version = "batchnorm " + re.search(r'^version = "(.+)"', manifest, re.MULTILINE)[1]

    def contenders(self, case, op):
        features = ctypes.c_size_t(case.features)
        parameters = [pointer(values) for values in (case.weight, case.bias, case.mean, case.variance)]
        # Never freed: some kilobytes for each case, and the process ends soon.
        layer = ctypes.c_void_p(self.library.layer_new(features, *parameters))
        outer, inner = ctypes.c_size_t(case.shape[0]), ctypes.c_size_t(case.count // case.shape[0])
        batch = layer, pointer(case.x), outer, inner
        mean, variance = np.empty((2, case.features), np.float32)
        moments = functools.partial(self.library.layer_moments, *batch, pointer(mean), pointer(variance))
        y = np.empty_like(case.x)
        if op == MOMENTS:
            yield "this", moments, functools.partial(self.accepted, [mean, variance])
        elif op in (FUSED, BACKWARD):
            # The backward pass uses the moments of the forward one.
            moments()
            function = self.library.layer_fused if op == FUSED else self.library.layer_backward
            run = functools.partial(function, *batch, pointer(case.other), pointer(y))
            yield "this", run, functools.partial(self.accepted, [y])
        else:
            function = self.library.layer_eval if op == INFERENCE else self.library.layer_train
            yield "this", functools.partial(function, *batch, pointer(y)), functools.partial(self.accepted, [y])

    @staticmethod
    def accepted(arrays, accepted):
        if not accepted:
            raise ValueError("refused")
        return arrays


class Numpy:
    """numpy, into arrays that exist. Its elementwise operations and its reductions use one thread."""

    def __init__(self, options):
        self.version = f"numpy {np.__version__}"

    def contenders(self, case, op):
        x, y, spread = case.x, np.empty_like(case.x), case.spread
        mean, variance = (np.empty_like(spread(case.mean)) for _ in range(2))
        running_mean, running_var = spread(case.mean).copy(), spread(case.variance).copy()
        weight, bias = spread(case.weight), spread(case.bias)

        def moments():
            np.mean(x, axis=case.axes, keepdims=True, out=mean)
            np.var(x, axis=case.axes, keepdims=True, out=variance, mean=mean)

        # Folded: two passes over the batch rather than three.
        def normalize(scale, shift):
            np.multiply(x, scale, out=y)
            np.add(y, shift, out=y)

        def training():
            moments()
            np.add(running_mean * (1 - MOMENTUM), mean * MOMENTUM, out=running_mean)
            unbiased = MOMENTUM * case.count / (case.count - 1)
            np.add(running_var * (1 - MOMENTUM), variance * np.float32(unbiased), out=running_var)
            scale = weight / np.sqrt(variance + np.float32(EPS))
            normalize(scale, bias - mean * scale)

        if op == MOMENTS:
            yield "numpy", moments, lambda _: [mean, variance]
        elif op in (INFERENCE, FUSED):
            scale = weight / np.sqrt(running_var + np.float32(EPS))
            shift = bias - running_mean * scale

            def fused():
                normalize(scale, shift)
                np.add(y, case.other, out=y)
                np.maximum(y, 0, out=y)

            yield "numpy", fused if op == FUSED else functools.partial(normalize, scale, shift), lambda _: [y]
        elif op == TRAINING:
            yield "numpy", training, lambda _: [y]


class Torch:
    """PyTorch: as its layer calls it, and into an output that exists."""

    def __init__(self, options):
        import torch

        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.version = f"torch {torch.__version__}"

    def contenders(self, case, op):
        torch = self.torch
        x = torch.from_numpy(case.x)
        if op == MOMENTS:
            run = functools.partial(torch.var_mean, x, dim=case.axes, correction=0)
            yield "torch", run, lambda result: [result[1].numpy(), result[0].numpy()]
            return
        weight, bias = torch.from_numpy(case.weight), torch.from_numpy(case.bias)
        # Copies: training changes them.
        mean, variance = torch.tensor(case.mean), torch.tensor(case.variance)
        training = op == TRAINING
        if op == FUSED:
            yield from self.fused(case, x, (mean, variance, weight, bias))
            return
        if op == BACKWARD:
            yield from self.backward(case, x, (weight, bias, mean, variance))
            return
        run = functools.partial(
            torch.nn.functional.batch_norm, x, mean, variance, weight, bias,
            training=training, momentum=MOMENTUM, eps=EPS,
        )  # fmt: skip
        yield "torch", run, lambda y: [y.numpy()]
        # Evaluation leaves the saved statistics empty.
        saved = [torch.empty(case.features if training else 0) for _ in range(2)]
        run = functools.partial(
            torch.native_batch_norm, x, weight, bias, mean, variance, training, MOMENTUM, EPS,
            out=(torch.empty_like(x), *saved),
        )  # fmt: skip
        yield "torch out=", run, lambda result: [result[0].numpy()]


    def fused(self, case, x, parameters):
        torch, residual = self.torch, self.torch.from_numpy(case.other)
        y = torch.empty_like(x)
        mean, variance, weight, bias = parameters

        def functions():
            return torch.nn.functional.batch_norm(x, *parameters, eps=EPS).add_(residual).relu_()

        def into():
            saved = torch.empty(0), torch.empty(0)
            torch.native_batch_norm(x, weight, bias, mean, variance, False, MOMENTUM, EPS, out=(y, *saved))
            return y.add_(residual).relu_()

        yield "torch", functions, lambda y: [y.numpy()]
        yield "torch out=", into, lambda y: [y.numpy()]

    def backward(self, case, x, parameters):
        """Its kernel alone, without autograd's bookkeeping."""
        torch, dy = self.torch, self.torch.from_numpy(case.other)
        weight, bias, mean, variance = parameters
        _, *saved = torch.native_batch_norm(x, weight, bias, mean, variance, True, MOMENTUM, EPS)
        arguments = dy, x, weight, mean, variance, *saved, True, EPS, [True, True, True]
        run = functools.partial(torch.ops.aten.native_batch_norm_backward, *arguments)
        yield "torch", run, lambda result: [result[0].numpy()]
        out = dict(out0=torch.empty_like(x), out1=torch.empty_like(weight), out2=torch.empty_like(bias))
        run = functools.partial(torch.ops.aten.native_batch_norm_backward.out, *arguments, **out)
        yield "torch out=", run, lambda result: [result[0].numpy()]


class OnnxRuntime:
    """onnxruntime: a model of one node (of four for moments, of three fused), with inputs and outputs bound beforehand.
    No backward pass."""

    def __init__(self, options):
        import onnx
        import onnxruntime

        self.onnx, self.ort = onnx, onnxruntime
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = options.threads
        self.options.inter_op_num_threads = 1
        # Else its threads would spin into the next contender's turn.
        self.options.add_session_config_entry("session.force_spinning_stop", "1")
        self.version = f"onnxruntime {onnxruntime.__version__}"

    def contenders(self, case, op):
        if op == BACKWARD:
            return
        if op == MOMENTS:
            outputs = {name: np.empty_like(case.spread(case.mean)) for name in ("mean", "variance")}
        else:
            outputs = {"y": np.empty_like(case.x)}
            if op == TRAINING:
                outputs |= {name: np.empty_like(case.mean) for name in ("running_mean", "running_var")}
        providers = ["CPUExecutionProvider"]
        session = self.ort.InferenceSession(self.model(case, op, outputs), self.options, providers=providers)
        binding = session.io_binding()
        inputs = {"x": case.x} | ({"residual": case.other} if op == FUSED else {})
        # Kept in a variable, because a binding does not keep what is bound.
        bound_inputs = {name: self.ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
        for name, value in bound_inputs.items():
            binding.bind_ortvalue_input(name, value)
        bound = {name: self.ort.OrtValue.ortvalue_from_numpy(array) for name, array in outputs.items()}
        for name, value in bound.items():
            binding.bind_ortvalue_output(name, value)
        run = functools.partial(session.run_with_iobinding, binding)
        results = ("mean", "variance") if op == MOMENTS else ("y",)
        yield "onnxruntime", run, lambda _, keep=bound_inputs: [bound[name].numpy() for name in results]

    def model(self, case, op, outputs):
        helper, kind = self.onnx.helper, self.onnx.TensorProto.FLOAT
        constants = {}
        if op == MOMENTS:
            mean_of = functools.partial(helper.make_node, "ReduceMean", axes=case.axes, keepdims=1)
            nodes = [
                mean_of(["x"], ["mean"]),
                helper.make_node("Sub", ["x", "mean"], ["centred"]),
                helper.make_node("Mul", ["centred", "centred"], ["squared"]),
                mean_of(["squared"], ["variance"]),
            ]
        else:
            constants = dict(weight=case.weight, bias=case.bias, mean=case.mean, variance=case.variance)
            # ONNX has momentum the other way round.
            attributes = dict(epsilon=EPS, momentum=1 - MOMENTUM, training_mode=int(op == TRAINING))
            normalized = ["normalized"] if op == FUSED else list(outputs)
            nodes = [helper.make_node("BatchNormalization", ["x", *constants], normalized, **attributes)]
            if op == FUSED:
                nodes.append(helper.make_node("Add", ["normalized", "residual"], ["sum"]))
                nodes.append(helper.make_node("Relu", ["sum"], ["y"]))
        graph = helper.make_graph(
            nodes,
            "peer",
            [helper.make_tensor_value_info(n, kind, case.shape) for n in ["x", "residual"][: 1 + (op == FUSED)]],
            [helper.make_tensor_value_info(name, kind, array.shape) for name, array in outputs.items()],
            [self.onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return model.SerializeToString()


class OneDal:
    """oneDAL: statistics of tables, and z-scores (no weight, no bias, no running statistics). No planes."""

    def __init__(self, options):
        import importlib.metadata

        import daal4py

        daal4py.daalinit(options.threads)
        self.daal = daal4py
        # The package that brings both the library and its binding; they are numbered alike.
        self.version = f"oneDAL {importlib.metadata.version('scikit-learn-intelex')}"

    def contenders(self, case, op):
        if len(case.shape) > 2 or op not in (MOMENTS, TRAINING):
            return
        # Both take the unbiased variance.
        biased = (case.count - 1) / case.count
        if op == MOMENTS:
            algorithm = self.daal.low_order_moments(fptype="float", estimatesToCompute="estimatesMeanVariance")
            run = functools.partial(algorithm.compute, case.x)
            yield "oneDAL", run, lambda r: [r.mean, r.variance * biased]
        else:
            algorithm = self.daal.normalization_zscore(fptype="float", doScale=True)
            scale = case.weight / np.sqrt(biased)
            run = functools.partial(algorithm.compute, case.x)
            yield "oneDAL z-score", run, lambda r: [r.normalizedData * scale + case.bias]


class ScikitLearn:
    """scikit-learn's StandardScaler (no weight, no bias; transform is made to include them). No planes."""

    def __init__(self, options):
        import sklearn
        import sklearn.preprocessing

        # Else each call looks for NaN and infinities first.
        sklearn.set_config(assume_finite=True)
        self.scaler = sklearn.preprocessing.StandardScaler
        self.version = f"scikit-learn {sklearn.__version__}"

    def contenders(self, case, op):
        if len(case.shape) > 2 or op in (FUSED, BACKWARD):
            return
        scaler = self.scaler()
        if op == MOMENTS:
            yield "scikit-learn", lambda: scaler.fit(case.x), lambda fitted: [fitted.mean_, fitted.var_]
        elif op == INFERENCE:
            scaler.fit(case.x)
            scaler.scale_ = np.sqrt(case.variance.astype(np.float64) + EPS) / case.weight
            scaler.mean_ = case.mean - case.bias * scaler.scale_
            yield "scikit-learn", lambda: scaler.transform(case.x), lambda y: [y]
        else:
            yield "scikit-learn", lambda: scaler.fit_transform(case.x), lambda y: [y * case.weight + case.bias]


def pointer(array):
    """Keeps the array alive as long as it lives itself."""
    return array.ctypes.data_as(ctypes.c_void_p)


def build():
    """Builds the C interface and says where it is."""
    command = "cargo build --release --lib --no-default-features --message-format json-render-diagnostics"
    output = subprocess.run(command.split(), cwd=HERE, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = map(json.loads, output.splitlines())
    files = [file for message in messages for file in message.get("filenames", []) if "batchnorm_c" in file]
    return next(file for file in files if file.endswith((".so", ".dylib", ".dll")))


def check(case, op, contenders):
    """Drops contenders that refuse the case; ends the program where one computes something else."""
    kept, expected = [], None
    for name, run, read in contenders:
        try:
            got = [np.asarray(array).reshape(-1) for array in read(run())]
        except Exception as error:
            if name == "this":
                raise
            print(f"{name} skipped: {op} of {case.name}: {error}", file=sys.stderr)
            continue
        expected = expected or got
        # Loose: f32 sums of a million values are what some do.
        close = functools.partial(np.allclose, rtol=0.01, atol=0.01)
        if len(got) != len(expected) or not all(map(close, got, expected)):
            sys.exit(f"{name} differs: {op} of {case.name}")
        # With `read`, which holds what the call writes to.
        kept.append((name, run, read))
    return kept


def race(contenders, options):
    """Seconds for one call of each contender, one sample from each round."""
    repeats = []
    for _, run, _ in contenders:
        count = 1
        while clock(run, count) < ROUND_SECONDS:
            count *= 2
        repeats.append(count)
    samples = [[] for _ in contenders]
    gc.disable()
    for _ in range(options.rounds):
        for (_, run, _), count, own in zip(contenders, repeats, samples):
            if options.threads > 1:
                # Threads of the one before may spin on for some milliseconds.
                time.sleep(5e-3)
            # Untimed: the one before left its own data in the caches.
            run()
            own.append(clock(run, count) / count)
    gc.enable()
    return samples


def clock(run, count):
    start = time.perf_counter()
    for _ in itertools.repeat(None, count):
        run()
    return time.perf_counter() - start


def duration(seconds):
    unit, factor = ("µs", 1e6) if seconds < 1e-3 else ("ms", 1e3)
    return f"{seconds * factor:.2f} {unit}"


def row(*cells):
    widths = "<11", "<9", "<14", ">9", ">9", ">7", ">8"
    print("| " + " | ".join(format(cell, width) for cell, width in zip(cells, widths)) + " |", flush=True)


def main(options):
    libraries = []
    for kind in This, Numpy, Torch, OnnxRuntime, OneDal, ScikitLearn:
        try:
            libraries.append(kind(options))
        except ImportError as error:
            print(f"{kind.__name__} skipped: {error}", file=sys.stderr)
    print(", ".join(library.version for library in libraries))
    print(f"threads: {options.threads}; rounds: {options.rounds}\n")
    print("Time of one call; x: how many times as long as this crate took (above 1, this crate is faster).\n")
    row("shape", "operation", "peer", "min", "median", "x min", "x median")
    print("|---|---|---|---:|---:|---:|---:|")
    for shape in SHAPES:
        case = Case(shape)
        if options.shape not in (None, case.name):
            continue
        for op in OPS:
            contenders = check(case, op, (c for library in libraries for c in library.contenders(case, op)))
            times = [(min(samples), statistics.median(samples)) for samples in race(contenders, options)]
            for (name, *_), own in zip(contenders, times):
                ratios = [f"{time / this:.2f}" for time, this in zip(own, times[0])]
                row(case.name, op, name, *map(duration, own), *ratios)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Times this crate beside Python's libraries.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shape", help="as in the table")
    parser.add_argument("--library", help="the C interface, built already")
    options = parser.parse_args()
    # Before numpy and the others: they read these when they are imported.
    for variable in "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS":
        os.environ[variable] = str(options.threads)
    import numpy as np

    main(options)
