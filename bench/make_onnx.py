"""Writes a ViT or a V-MoE of any geometry as an ONNX model, with the weights of bench_geometry.

The weights are a formula of their names, the one of tests/support/formula.c, so the model computes
the same function as the `.vmoe` file that bench_geometry writes for the same geometry, and the
answers of two runtimes can be compared before their times are.  The graph is what an exporter would
write: pre-norm blocks, one product for q, k and v, and the standard operators of opset 20.  With
--fused the attention is ONNX Runtime's own operator, which no other runtime reads.

Experts come in two forms.  One is ONNX Runtime's own operator, `com.microsoft.MoE`; its CPU kernel
takes the router's logits (not probabilities, whatever the input is called), applies the softmax
over all experts itself, uses the k largest gates as they are unless normalize_routing_weights is
set, and computes the tanh form of GELU.  Its weights are (expert, output, input).  The other, with
--portable, gathers the tokens of each expert and scatters what it made of them with standard
operators, as an exporter would write a port.  Neither has a capacity: no pair is dropped.

    make_onnx.py [--layers N ...] [--batch N] [--fused] [--portable] FILE
"""

import argparse
import dataclasses
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SEED = 7
OPSET = 20  # the first with Gelu
IR_VERSION = 9  # that of opset 20
FUSED_DOMAIN = "com.microsoft"
LAYER_NORM_EPSILON = 1e-6
EXTERNAL_BYTES = 2_000_000_000  # a protocol buffer ends at 2 GiB
EXPERTS_PER_TOKEN = 2


@dataclasses.dataclass(frozen=True)
class Geometry:
    """
    A ViT with a class token.  The defaults are ViT-B/16 at 224 pixels.  With experts, `moe` tells
    which blocks have them: every2 (1, 3, 5, ...) or last2 (the last and the last but two).
    """

    image: int = 224
    patch: int = 16
    width: int = 768
    heads: int = 12
    mlp: int = 3072
    layers: int = 12
    classes: int = 1000
    experts: int = 0
    moe: str = "every2"

    def has_experts(self, block):
        if self.moe == "last2":
            return self.experts > 0 and block in (self.layers - 1, self.layers - 3)
        return self.experts > 0 and block % 2 == 1

    @property
    def patches(self):
        return (self.image // self.patch) ** 2

    @property
    def tokens(self):
        return self.patches + 1

    def words(self):
        """The geometry as options of bench_geometry and of this program."""
        return [word for field in dataclasses.fields(self)
                for word in (f"--{field.name}", str(getattr(self, field.name)))]


# ---- Weights by formula --------------------------------------------------------------------------


def name_hash(name):
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


def formula(name, shape, offset, scale):
    """Values in offset - scale .. offset + scale: splitmix64 of the name's hash and the index."""
    z = np.arange(1, np.prod(shape) + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(name_hash(name) ^ SEED)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(31)
    unit = (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    return (np.float32(offset) + np.float32(scale) * unit).reshape(shape)


def kernel(name, *shape, fan=None):
    fan = shape[0] if fan is None else fan
    return formula(name, shape, 0, np.sqrt(3 / fan))


def bias(name, *shape):
    return formula(name, shape, 0, 0.125)


# ---- The graph -----------------------------------------------------------------------------------


class Graph:
    """Nodes and weights in the making; every method returns the name of a value."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def integers(self, name, *values):
        return self.weight(name, np.array(values, np.int64))

    def add(self, operator, *inputs, outputs=1, **attributes):
        name = f"{operator}_{len(self.nodes)}"
        names = [f"{name}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return names[0] if outputs == 1 else names

    def norm(self, x, name, width):
        scale = self.weight(f"{name}/scale", formula(f"{name}/scale", (width,), 1, 0.25))
        offset = self.weight(f"{name}/bias", bias(f"{name}/bias", width))
        return self.add("LayerNormalization", x, scale, offset, axis=-1,
                        epsilon=LAYER_NORM_EPSILON)

    def linear(self, x, name, matrix, vector):
        product = self.add("MatMul", x, self.weight(f"{name}/kernel", matrix))
        return self.add("Add", product, self.weight(f"{name}/bias", vector))


def embed(graph, geometry, batch, image):
    d, p = geometry.width, geometry.patch
    taps = kernel("embedding/kernel", p, p, 3, d, fan=3 * p * p)
    x = graph.add("Conv", image,
                  graph.weight("embedding/kernel", taps.transpose(3, 2, 0, 1)),
                  graph.weight("embedding/bias", bias("embedding/bias", d)),
                  kernel_shape=[p, p], strides=[p, p])
    x = graph.add("Reshape", x, graph.integers("embedding/shape", batch, d, geometry.patches))
    x = graph.add("Transpose", x, perm=[0, 2, 1])
    token = np.tile(formula("cls", (1, 1, d), 0, 0.5), (batch, 1, 1))
    x = graph.add("Concat", graph.weight("cls", token), x, axis=1)
    name = "Encoder/posembed_input/pos_embedding"
    return graph.add("Add", x, graph.weight(name, formula(name, (1, geometry.tokens, d), 0, 0.5)))


def mix_tokens(graph, geometry, batch, name, x, matrix, vector):
    """Softmax(q k^T) v of all heads, with standard operators."""
    d, h, t = geometry.width, geometry.heads, geometry.tokens
    x = graph.linear(x, f"{name}/qkv", matrix, vector)
    x = graph.add("Reshape", x, graph.integers(f"{name}/split", batch, t, 3, h, d // h))
    x = graph.add("Transpose", x, perm=[2, 0, 3, 1, 4])
    q, k, v = graph.add("Split", x, outputs=3, axis=0, num_outputs=3)
    axes = graph.integers(f"{name}/axes", 0)
    q, k, v = (graph.add("Squeeze", part, axes) for part in (q, k, v))
    q = graph.add("Mul", q, graph.weight(f"{name}/factor", np.float32((d // h) ** -0.5)))
    scores = graph.add("MatMul", q, graph.add("Transpose", k, perm=[0, 1, 3, 2]))
    x = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), v)
    x = graph.add("Transpose", x, perm=[0, 2, 1, 3])
    return graph.add("Reshape", x, graph.integers(f"{name}/join", batch, t, d))


def mix_tokens_fused(graph, geometry, name, x, matrix, vector):
    return graph.add("Attention", x, graph.weight(f"{name}/qkv/kernel", matrix),
                     graph.weight(f"{name}/qkv/bias", vector), domain=FUSED_DOMAIN,
                     num_heads=geometry.heads)


def attention(graph, geometry, batch, fused, name, x):
    d, parts = geometry.width, ("query", "key", "value")
    matrix = np.concatenate([kernel(f"{name}/{part}/kernel", d, d) for part in parts], 1)
    vector = np.concatenate([bias(f"{name}/{part}/bias", d) for part in parts])
    if fused:
        x = mix_tokens_fused(graph, geometry, name, x, matrix, vector)
    else:
        x = mix_tokens(graph, geometry, batch, name, x, matrix, vector)
    return graph.linear(x, f"{name}/out", kernel(f"{name}/out/kernel", d, d),
                        bias(f"{name}/out/bias", d))


def mlp(graph, geometry, name, x):
    d, f = geometry.width, geometry.mlp
    x = graph.linear(x, f"{name}/Dense_0", kernel(f"{name}/Dense_0/kernel", d, f),
                     bias(f"{name}/Dense_0/bias", f))
    x = graph.add("Gelu", x, approximate="tanh")
    return graph.linear(x, f"{name}/Dense_1", kernel(f"{name}/Dense_1/kernel", f, d),
                        bias(f"{name}/Dense_1/bias", d))


class Experts:
    """The weights of a block's experts and of its router."""

    def __init__(self, geometry, name):
        d, f, e = geometry.width, geometry.mlp, geometry.experts
        self.router = formula(f"{name}/Router/dense/kernel", (d, e), 0, 3 * np.sqrt(3 / d))
        first, second = f"{name}/Mlp/Dense_0", f"{name}/Mlp/Dense_1"
        self.kernels = (kernel(f"{first}/kernel", e, d, f, fan=d),
                        kernel(f"{second}/kernel", e, f, d, fan=f))
        self.biases = bias(f"{first}/bias", e, f), bias(f"{second}/bias", e, d)


def moe_operator(graph, name, x, logits, experts):
    weights = []
    for i, (matrices, vectors) in enumerate(zip(experts.kernels, experts.biases)):
        matrices = np.ascontiguousarray(matrices.transpose(0, 2, 1))
        weights += [graph.weight(f"{name}/Mlp/Dense_{i}/kernel", matrices),
                    graph.weight(f"{name}/Mlp/Dense_{i}/bias", vectors)]
    return graph.add("MoE", x, logits, *weights, domain=FUSED_DOMAIN, activation_type="gelu",
                     k=EXPERTS_PER_TOKEN, normalize_routing_weights=0)


def moe_portable(graph, name, x, logits, experts):
    """Sum over the experts of gate * expert(x), of the tokens that chose it; x is (tokens, D)."""
    k = graph.integers(f"{name}/k", EXPERTS_PER_TOKEN)
    gates, chosen = graph.add("TopK", graph.add("Softmax", logits, axis=-1), k, outputs=2, axis=-1)
    flat = graph.integers(f"{name}/flat", -1)
    gates = graph.add("Reshape", gates, flat)
    chosen = graph.add("Reshape", chosen, flat)
    one = graph.integers(f"{name}/one", 1)
    total = graph.add("ConstantOfShape", graph.add("Shape", x))
    for e in range(len(experts.kernels[0])):
        expert = graph.weight(f"{name}/{e}", np.array(e))
        pairs = graph.add("Reshape", graph.add("NonZero", graph.add("Equal", chosen, expert)), flat)
        tokens = graph.add("Div", pairs, k)
        y = graph.add("Gather", x, tokens, axis=0)
        y = graph.linear(y, f"{name}/{e}/Dense_0", experts.kernels[0][e], experts.biases[0][e])
        y = graph.add("Gelu", y, approximate="tanh")
        y = graph.linear(y, f"{name}/{e}/Dense_1", experts.kernels[1][e], experts.biases[1][e])
        gate = graph.add("Unsqueeze", graph.add("Gather", gates, pairs, axis=0), one)
        total = graph.add("ScatterND", total, graph.add("Unsqueeze", tokens, one),
                          graph.add("Mul", y, gate), reduction="add")
    return total


def moe(graph, geometry, batch, portable, name, x):
    d, t = geometry.width, geometry.tokens
    experts = Experts(geometry, name)
    x = graph.add("Reshape", x, graph.integers(f"{name}/rows", batch * t, d))
    logits = graph.add("MatMul", x, graph.weight(f"{name}/Router/dense/kernel", experts.router))
    form = moe_portable if portable else moe_operator
    x = form(graph, name, x, logits, experts)
    return graph.add("Reshape", x, graph.integers(f"{name}/images", batch, t, d))


def build(geometry, batch, fused, portable):
    """The model as a ModelProto: `image` (batch, 3, image, image) to `logits` (batch, classes)."""
    graph, d, side = Graph(), geometry.width, geometry.image
    x = embed(graph, geometry, batch, "image")
    for i in range(geometry.layers):
        block = f"Encoder/encoderblock_{i}"
        y = graph.norm(x, f"{block}/LayerNorm_0", d)
        y = attention(graph, geometry, batch, fused, f"{block}/SelfAttention", y)
        x = graph.add("Add", x, y)
        y = graph.norm(x, f"{block}/LayerNorm_1", d)
        if geometry.has_experts(i):
            y = moe(graph, geometry, batch, portable, f"{block}/Moe", y)
        else:
            y = mlp(graph, geometry, f"{block}/Mlp", y)
        x = graph.add("Add", x, y)
    x = graph.norm(x, "Encoder/encoder_norm", d)
    x = graph.add("Gather", x, graph.weight("token", np.array(0)), axis=1)
    graph.linear(x, "head", kernel("head/kernel", d, geometry.classes),
                 bias("head/bias", geometry.classes))
    graph.nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (batch, 3, side, side))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, (batch, geometry.classes))
    opsets = [helper.make_opsetid("", OPSET)]
    if fused or (geometry.experts > 0 and not portable):
        opsets.append(helper.make_opsetid(FUSED_DOMAIN, 1))
    return helper.make_model(
        helper.make_graph(graph.nodes, "vit", [image], [logits], graph.weights),
        opset_imports=opsets, ir_version=IR_VERSION)


def write(geometry, batch, fused, portable, path):
    """The file appears complete or not at all."""
    model, part = build(geometry, batch, fused, portable), path.with_name(f"{path.name}.part")
    data = path.with_name(f"{path.name}.data")
    external = sum(len(weight.raw_data) for weight in model.graph.initializer) > EXTERNAL_BYTES
    data.unlink(missing_ok=True)  # it would be appended to
    onnx.save(model, part, save_as_external_data=external, location=data.name)
    part.replace(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for field in dataclasses.fields(Geometry):
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--fused", action="store_true")
    parser.add_argument("--portable", action="store_true")
    parser.add_argument("file")
    words = vars(parser.parse_args())
    names = ("batch", "fused", "portable", "file")
    batch, fused, portable, path = (words.pop(name) for name in names)
    write(Geometry(**words), batch, fused, portable, pathlib.Path(path))


if __name__ == "__main__":
    main()
