"""Makes the models and tensors of the session tests and of examples/speed.rs.

    python tests/make_data.py FOLDER

ONNX's own node tests of batch normalisation, from the package onnx, are written as its `generate-data` writes them:
NAME/model.onnx, NAME/test_data_set_0/input_0.pb and so on. The other models are made here.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "f16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
NAMES = ["scale", "B", "input_mean", "input_var"]
rng = np.random.default_rng(1)


def info(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs, outputs, initializers=(), opset=15, domains=(), functions=()):
    """A model; initializers are pairs of a name and an array."""
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, tensors)
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=list(functions))


def norm(x, y, prefix="", outputs=(), **attributes):
    inputs = [x] + [prefix + name for name in NAMES]
    return helper.make_node("BatchNormalization", inputs, [y, *outputs], name=prefix + "bn", **attributes)


def parameters(channels, prefix="", dtype=np.float32, mean=0.0):
    values = [
        rng.uniform(0.5, 1.5, channels),
        rng.normal(0, 1, channels),
        rng.normal(mean, 1, channels),
        rng.uniform(0.5, 2, channels),
    ]
    return [(prefix + name, value.astype(dtype)) for name, value in zip(NAMES, values)]


def conv(x, y, prefix, out_channels, in_channels, size=3, stride=1):
    weight = rng.normal(0, (2 / (in_channels * size * size)) ** 0.5, (out_channels, in_channels, size, size))
    pads = [size // 2] * 4
    node = helper.make_node("Conv", [x, prefix + "weight"], [y], name=prefix + "conv", pads=pads, strides=[stride] * 2)
    return node, (prefix + "weight", weight.astype(np.float32))


def tiny():
    """The model of the documentation's examples: (x - (1, 4)) / sqrt(3 + 1) * (2, 1) + (0, -1.5) of [N, 2, 3]."""
    values = [[2, 1], [0, -1.5], [1, 4], [3, 3]]
    initializers = [(name, np.array(value, np.float32)) for name, value in zip(NAMES, values)]
    return model([norm("x", "y", epsilon=1.0)], [info("x", ["n", 2, 3])], [info("y", ["n", 2, 3])], initializers)


def node_tests(folder):
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other operators, whose tests overflow on purpose
        cases = [case for case in collect_testcases("BatchNormalization") if case.name.startswith("test_batchnorm")]
    for case in cases:
        data = folder / case.name / "test_data_set_0"
        data.mkdir(parents=True)
        onnx.save(case.model, folder / case.name / "model.onnx")
        for kind, arrays, infos in zip(["input", "output"], case.data_sets[0], [case.model.graph.input, case.model.graph.output]):
            for i, (array, value) in enumerate(zip(arrays, infos, strict=True)):
                (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(array, value.name).SerializeToString())
    return len(cases)


def type_models(folder):
    """Every combination of types, all inputs given by the caller, for evaluation and training."""
    for x, x_type in TYPES.items():
        for p, p_type in TYPES.items():
            for s, s_type in TYPES.items():
                inputs = [info("x", None, x_type)]
                inputs += [info(name, ["c"], p_type) for name in NAMES[:2]] + [info(name, ["c"], s_type) for name in NAMES[2:]]
                y = info("y", None, x_type)
                running = [info("running_mean", None, s_type), info("running_var", None, s_type)]
                onnx.save(model([norm("x", "y", epsilon=1e-3)], inputs, [y]), folder / f"eval_{x}_{p}_{s}.onnx")
                node = norm("x", "y", outputs=["running_mean", "running_var"], epsilon=1e-3, momentum=0.75, training_mode=1)
                onnx.save(model([node], inputs, [y, *running]), folder / f"train_{x}_{p}_{s}.onnx")


def networks(folder):
    # Convolution, normalisation, ReLU: ONNX Runtime folds the normalisation, unless its optimisations are off.
    nodes, initializers, x, channels = [], [], "x", 3
    for stage, (out, stride) in enumerate([(16, 1), (32, 2), (64, 2)]):
        node, weight = conv(x, f"c{stage}", f"s{stage}_", out, channels, stride=stride)
        nodes += [node, norm(f"c{stage}", f"n{stage}", f"s{stage}_")]
        nodes.append(helper.make_node("Relu", [f"n{stage}"], [f"r{stage}"]))
        initializers += [weight, *parameters(out, f"s{stage}_")]
        x, channels = f"r{stage}", out
    onnx.save(model(nodes, [info("x", ["n", 3, 32, 32])], [info(x, None)], initializers), folder / "conv_bn_relu.onnx")

    # Normalisation, ReLU, convolution, and all that was before beside it, as in DenseNet: nothing can be folded.
    node, weight = conv("x", "f0", "stem_", 32, 3)
    nodes, initializers, x, channels = [node], [weight], "f0", 32
    for stage in range(4):
        prefix = f"d{stage}_"
        nodes += [norm(x, prefix + "n", prefix), helper.make_node("Relu", [prefix + "n"], [prefix + "r"])]
        node, weight = conv(prefix + "r", prefix + "c", prefix, 32, channels, size=1)
        nodes += [node, helper.make_node("Concat", [x, prefix + "c"], [prefix + "f"], axis=1)]
        initializers += [weight, *parameters(channels, prefix)]
        x, channels = prefix + "f", channels + 32
    onnx.save(model(nodes, [info("x", ["n", 3, 32, 32])], [info(x, None)], initializers), folder / "dense.onnx")

    for opset in (7, 9, 14):
        m = model([norm("x", "y")], [info("x", ["n", 5, "l"])], [info("y", None)], parameters(5), opset=opset)
        onnx.save(m, folder / f"opset{opset}.onnx")

    branches = []
    for name in ("yes", "no"):
        nodes = [norm("x", name + "_y", name + "_")]
        tensors = [numpy_helper.from_array(array, key) for key, array in parameters(4, name + "_")]
        branches.append(helper.make_graph(nodes, name, [], [info(name + "_y", None)], tensors))
    chosen = helper.make_node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1])
    inputs = [info("x", ["n", 4, "l"]), info("which", [], TensorProto.BOOL)]
    onnx.save(model([chosen], inputs, [info("y", None)]), folder / "branches.onnx")

    body = [norm("a", "b"), helper.make_node("Relu", ["b"], ["c"])]
    function = helper.make_function("made.here", "NormRelu", ["a", *NAMES], ["c"], body, [helper.make_opsetid("", 15)])
    call = helper.make_node("NormRelu", ["x", *NAMES], ["y"], domain="made.here")
    m = model([call], [info("x", ["n", 4, "l"])], [info("y", None)], parameters(4), domains=["made.here"], functions=[function])
    onnx.save(m, folder / "function.onnx")

    # The shapes are known by name, so the normalisation may take the place of its input.
    nodes = [helper.make_node("Neg", ["x"], ["a"]), norm("a", "b"), helper.make_node("Neg", ["b"], ["y"])]
    x = info("x", ["n", 64, "h", "w"])
    onnx.save(model(nodes, [x], [info("y", None)], parameters(64)), folder / "between.onnx")
    running = ["running_mean", "running_var"]
    # A node may leave running_mean out. (ONNX Runtime's own then ends the program.)
    initializers = parameters(5)
    for name, given in [("both_running", running), ("one_running", ["", "running_var"])]:
        node = norm("x", "y", outputs=given, training_mode=1)
        outputs = [info(output, None) for output in ["y", *given] if output]
        onnx.save(model([node], [info("x", None)], outputs, initializers), folder / f"{name}.onnx")
    nodes[1] = norm("a", "b", outputs=running, training_mode=1)
    outputs = [info(name, None) for name in ["y", *running]]
    onnx.save(model(nodes, [x], outputs, parameters(64)), folder / "between_training.onnx")


def layers(folder):
    """One layer each, for examples/speed.rs and for the test of threads."""
    for channels in (5, 32, 64, 512):
        for training in (0, 1):
            attributes = {"training_mode": 1} if training else {}
            outputs = ["running_mean", "running_var"] if training else []
            nodes = [norm("x", "y", outputs=outputs, **attributes)]
            values = [info(name, None) for name in ["y", *outputs]]
            name = ("train" if training else "eval") + f"_{channels}.onnx"
            onnx.save(model(nodes, [info("x", None)], values, parameters(channels)), folder / name)


def mistakes(folder):
    domain = "ai.batchnorm"

    def save(name, nodes, x=TensorProto.FLOAT, shape=None, outputs=("y",), initializers=None):
        initializers = parameters(3) if initializers is None else initializers
        values = [info(output, None, x) for output in outputs]
        onnx.save(model(nodes, [info("x", shape, x)], values, initializers, domains=[domain]), folder / f"{name}.onnx")

    good = norm("x", "y", domain=domain)
    save("good", [good])
    save("int_x", [good], x=TensorProto.INT32)
    save("string_x", [good], x=TensorProto.STRING)
    save("four_channels", [good], initializers=parameters(4))
    save("scalar_parameters", [good], initializers=[(name, value[0].reshape(())) for name, value in parameters(3)])
    square = parameters(3)
    square[1] = ("B", np.ones((1, 3), np.float32))
    save("matrix_bias", [good], initializers=square)
    mixed = parameters(3)
    mixed[1] = ("B", np.ones(3, np.float64))
    save("mixed_parameters", [good], initializers=mixed)
    negative = parameters(3)
    negative[3] = ("input_var", np.array([1, -0.5, 1], np.float32))
    save("negative_variance", [good], initializers=negative)
    integers = [(name, value.astype(np.int64)) for name, value in parameters(3)]
    save("int_parameters", [good], initializers=integers)
    for name, value in [("negative", -1.0), ("nan", float("nan")), ("infinite", float("inf")), ("string", "1e-5"), ("int", 1)]:
        save(f"{name}_epsilon", [norm("x", "y", domain=domain, epsilon=value)])
    save("nan_momentum", [norm("x", "y", domain=domain, momentum=float("nan"))])
    save("float_training", [norm("x", "y", domain=domain, training_mode=1.0)])
    save("other_activation", [norm("x", "y", domain=domain, activation="Tanh")])
    save("int_activation", [norm("x", "y", domain=domain, activation=1)])
    running = ["running_mean", "running_var"]
    save("eval_with_running", [norm("x", "y", domain=domain, outputs=running)], outputs=["y", *running])
    save("no_y", [norm("x", "", domain=domain, outputs=running, training_mode=1)], outputs=running)
    save("no_x", [norm("", "y", domain=domain)])
    save("five_outputs", [norm("x", "y", domain=domain, outputs=[*running, "a", "b"], training_mode=1)])
    fewer = norm("x", "y", domain=domain)
    fewer.input.pop()
    save("four_inputs", [fewer])
    sequence = helper.make_node("SequenceConstruct", ["x"], ["s"])
    save("sequence_x", [sequence, norm("s", "y", domain=domain)])
    other = norm("x", "y", domain=domain)
    other.op_type = "InstanceNormalization"
    save("other_operator", [other])


def main():
    folder = Path(sys.argv[1])
    for part, make in [("networks", networks), ("types", type_models), ("layers", layers), ("mistakes", mistakes)]:
        (folder / part).mkdir(parents=True)
        make(folder / part)
    onnx.save(tiny(), folder / "tiny.onnx")
    count = node_tests(folder / "node")
    print(f"{folder}: {count} node tests of onnx {onnx.__version__}, and models of networks, types, layers and mistakes")
    if count == 0:
        sys.exit("onnx has no node tests of batch normalisation")


main()
