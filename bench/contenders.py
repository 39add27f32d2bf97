"""The runtimes that peers.py compares, and the cases that it compares them on.

A contender is made from a case, loads its model, and has

    name, version   as they appear in the table
    ran             what it computed with, as far as the runtime tells
    run()           one call, to be timed, with the pictures of the case
    answer(images)  the logits (batch, classes) of other pictures; with experts, nothing is dropped
    strict          whether it computes in float32, so that its answers must be libvmoe's
    rival           the contender of libvmoe that it is measured against, or None

One whose package is missing raises ImportError, and one that cannot do the case raises Unfit.
"""

import collections
import contextlib
import ctypes
import logging
import os
import pathlib
import re
import subprocess

import numpy as np

import make_onnx

CASES = {
    "s32": make_onnx.Geometry(patch=32, width=512, heads=8, mlp=2048, layers=8),
    "s32-384": make_onnx.Geometry(image=384, patch=32, width=512, heads=8, mlp=2048, layers=8),
    "b16": make_onnx.Geometry(),
    "b16-384": make_onnx.Geometry(image=384),
    "l16": make_onnx.Geometry(width=1024, heads=16, mlp=4096, layers=24),
    "moe-s32": make_onnx.Geometry(patch=32, width=512, heads=8, mlp=2048, layers=8, experts=8,
                                  moe="last2"),
    "moe-b16": make_onnx.Geometry(experts=8),
}
CAPACITY = 1.05
CALIBRATION = 16  # pictures that choose the ranges of an int8 model
GRID = 8  # squares of a picture, along each side


class Unfit(Exception):
    """The contender cannot do the case."""


def pictures(seed, count, side):
    """Coloured squares under noise, in -1..1, so that patches and pictures differ."""
    random = np.random.default_rng(seed)
    squares = random.random((count, GRID, GRID, 3), np.float32)
    of_pixel = np.arange(side) * GRID // side
    noise = random.random((count, side, side, 3), np.float32)
    values = 1.4 * squares[:, of_pixel][:, :, of_pixel] + 0.6 * noise - 1
    return np.ascontiguousarray(values, np.float32)


class Case:
    """What all contenders of a comparison have in common."""

    def __init__(self, name, batch, threads, build, folder, isa=""):
        self.name, self.geometry = name, CASES[name]
        self.batch, self.threads, self.build, self.folder = batch, threads, build, folder
        self.isa = isa
        self.image = self.pictures(1)

    def pictures(self, seed):
        return pictures(seed, self.batch, self.geometry.image)

    def file(self, end):
        return self.folder / f"vmoe-bench-{self.name}{end}"

    def onnx(self, fused=False, portable=False):
        words = f"{'-fused' if fused else ''}{'-portable' if portable else ''}"
        path = self.file(f"-{self.batch}{words}.onnx")
        if is_older(path, make_onnx.__file__):
            make_onnx.write(self.geometry, self.batch, fused, portable, path)
        return path


def is_older(path, source):
    """Whether a model has to be written, because it is missing or older than its source."""
    return not path.exists() or path.stat().st_mtime < os.stat(source).st_mtime


def channels_first(image):
    return np.ascontiguousarray(image.transpose(0, 3, 1, 2))


# ---- libvmoe -------------------------------------------------------------------------------------
#
# Through the public interface only, so any version of the library will do.  The structs are those
# of vmoe.h; each begins with its size, and a newer library accepts a shorter one.

U32, U64, SIZE, POINTER = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_void_p
PRECISIONS = ("auto", "f32", "bf16", "int8")


class Error(ctypes.Structure):
    """vmoe_error"""

    _fields_ = [("status", ctypes.c_int), ("where", ctypes.c_char * 96),
                ("text", ctypes.c_char * 320)]


class Options(ctypes.Structure):
    """vmoe_options"""

    _fields_ = [("size", U32), ("experts_per_token", U32), ("capacity", ctypes.c_double),
                ("priority", U32), ("group_images", U32), ("capacity_rule", U32),
                ("capacity_multiple", U32), ("threads", U32), ("precision", U32), ("isa", U32),
                ("reserved", U32), ("cancel", POINTER), ("progress", POINTER),
                ("progress_context", POINTER), ("routes", POINTER), ("routes_length", SIZE)]


class Input(ctypes.Structure):
    """vmoe_input"""

    _fields_ = [("size", U32), ("reserved", U32), ("images", SIZE), ("pictures", POINTER),
                ("pixels", POINTER), ("tensor", POINTER), ("length", SIZE)]


class Report(ctypes.Structure):
    """vmoe_report"""

    _fields_ = [("size", U32), ("isa", U32), ("precision", U32), ("threads", U32),
                ("experts_per_token", U32), ("group_images", U32), ("groups", U64),
                ("capacity", U64), ("assigned", U64), ("processed", U64), ("dropped", U64),
                ("untouched", U64), ("macs", U64), ("weight_bytes", U64),
                ("seconds", ctypes.c_double * 7), ("total_seconds", ctypes.c_double),
                ("layers", POINTER), ("layers_length", SIZE), ("load", POINTER),
                ("load_length", SIZE), ("routes", POINTER), ("routes_length", SIZE)]


class Output(ctypes.Structure):
    """vmoe_output"""

    _fields_ = [("size", U32), ("reserved", U32), ("logits", POINTER), ("logits_length", SIZE),
                ("probabilities", POINTER), ("probabilities_length", SIZE), ("features", POINTER),
                ("features_length", SIZE), ("top", POINTER), ("top_length", SIZE),
                ("top_count", SIZE), ("report", ctypes.POINTER(Report))]


def sized(structure, **fields):
    return structure(size=ctypes.sizeof(structure), **fields)


class Libvmoe:
    """The base: `dtype` of the stored weights, `precision` of the arithmetic that is permitted."""

    name, dtype, precision, strict, rival = "libvmoe-f32", "f32", "f32", True, None
    capacity, model = CAPACITY, None

    def __init__(self, case):
        self.model, self.error, self.report = POINTER(), Error(), sized(Report)
        self.library = ctypes.CDLL(str(case.build.resolve() / "libvmoe.so"))
        self.library.vmoe_isa_name.restype = ctypes.c_char_p
        number = self.library.vmoe_version()
        self.version = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
        self.case, self.image = case, case.image
        self.call("vmoe_load_file", bytes(self.file()), None, ctypes.byref(self.model))
        self.options = sized(Options, threads=case.threads, isa=self.isa(),
                             precision=PRECISIONS.index(self.precision))
        if case.geometry.experts:
            self.options.experts_per_token = make_onnx.EXPERTS_PER_TOKEN
            self.options.capacity = self.capacity
        self.logits = np.empty((case.batch, case.geometry.classes), np.float32)

    def file(self):
        path, writer = self.case.file(f"-{self.dtype}.vmoe"), self.case.build / "bench_geometry"
        if is_older(path, writer):
            subprocess.run([writer, "--dtype", self.dtype, "--keep", path,
                            *self.case.geometry.words()], check=True)
        return path

    def isa(self):
        """The number of the instruction set that the user asked for by name."""
        if not self.case.isa:
            return 0
        for number in range(1, 32):
            if self.isa_name(number) == self.case.isa:
                return number
        raise Unfit(f"the library knows no {self.case.isa}")

    def isa_name(self, number):
        return (self.library.vmoe_isa_name(number) or b"unknown").decode()

    def call(self, function, *arguments):
        if getattr(self.library, function)(*arguments, ctypes.byref(self.error)) != 0:
            raise Unfit(f"{self.error.where.decode()}: {self.error.text.decode()}")

    def run(self, image=None, options=None):
        image = self.image if image is None else image
        source = sized(Input, images=len(image), tensor=image.ctypes.data, length=image.size)
        target = sized(Output, logits=self.logits.ctypes.data, logits_length=self.logits.size,
                       report=ctypes.pointer(self.report))
        self.call("vmoe_run", self.model, ctypes.byref(source),
                  ctypes.byref(options or self.options), ctypes.byref(target))
        return self.logits

    def answer(self, image):
        options = Options.from_buffer_copy(self.options)
        if self.case.geometry.experts:
            options.capacity = everything(self.case.geometry)
        return self.run(image, options).copy()

    @property
    def ran(self):
        precision = self.report.precision
        precision = PRECISIONS[precision] if precision < len(PRECISIONS) else str(precision)
        return f"{self.isa_name(self.report.isa)} {precision}"

    def __del__(self):
        if self.model:
            self.library.vmoe_free(self.model)


def everything(geometry):
    """The capacity at which no pair can be dropped."""
    return geometry.experts / make_onnx.EXPERTS_PER_TOKEN


class LibvmoeBf16(Libvmoe):
    name, dtype, precision, strict = "libvmoe-bf16", "bf16", "bf16", False


class LibvmoeInt8(Libvmoe):
    """Weights and activations."""

    name, dtype, precision, strict = "libvmoe-int8", "int8", "int8", False


class LibvmoeInt8Weights(Libvmoe):
    """Weights in int8, activations in bfloat16."""

    name, dtype, precision, strict = "libvmoe-int8w", "int8", "bf16", False


class LibvmoeEverything(LibvmoeBf16):
    """Computes every pair, as the other runtimes do."""

    name = "libvmoe-bf16-all"

    def __init__(self, case):
        if not case.geometry.experts:
            raise Unfit("no experts")
        self.capacity = everything(case.geometry)
        super().__init__(case)


# ---- ONNX Runtime --------------------------------------------------------------------------------


class OnnxRuntime:
    """A graph of standard operators; with experts, its own operator for them."""

    name, fused, strict, rival, ran = "onnxruntime", False, True, "libvmoe-f32", "f32"

    def __init__(self, case):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # Workers spin while a call lasts, which is the default, but not into the others' calls.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.version = onnxruntime.__version__
        self.session = onnxruntime.InferenceSession(case.onnx(fused=self.fused), options,
                                                    providers=["CPUExecutionProvider"])
        self.image = channels_first(case.image)

    def run(self):
        return self.session.run(None, {"image": self.image})[0]

    def answer(self, image):
        return self.session.run(None, {"image": channels_first(image)})[0]


class OnnxRuntimeFused(OnnxRuntime):
    """With its own attention operator."""

    name, fused = "onnxruntime-fused", True


# ---- OpenVINO ------------------------------------------------------------------------------------


class OpenVino:
    """With experts, the form in standard operators; it has none of its own that it could read."""

    name, precision, strict, rival = "openvino-f32", "f32", True, "libvmoe-f32"

    def __init__(self, case):
        import openvino

        core = openvino.Core()
        self.version = re.match(r"[\d.]+", openvino.__version__).group().rstrip(".")
        model = self.model(case, core)
        compiled = self.compile(core, model, case.threads, self.precision)
        self.ran = product_of(compiled)
        self.request = compiled.create_infer_request()
        self.tensor, self.image = openvino.Tensor, channels_first(case.image)
        self.request.set_input_tensor(self.tensor(self.image, shared_memory=True))

    def compile(self, core, model, threads, precision):
        try:
            return core.compile_model(model, "CPU", {
                "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
                "INFERENCE_PRECISION_HINT": precision})
        except RuntimeError as error:  # such as bf16 where ONEDNN_MAX_CPU_ISA excludes it
            raise Unfit(str(error).strip().splitlines()[-1]) from error

    def model(self, case, core):
        return core.read_model(case.onnx(portable=case.geometry.experts > 0))

    def run(self):
        self.request.infer()
        return self.request.get_output_tensor().data

    def answer(self, image):
        self.request.set_input_tensor(self.tensor(channels_first(image)))
        logits = np.array(self.run())
        self.request.set_input_tensor(self.tensor(self.image, shared_memory=True))
        return logits


def product_of(compiled):
    """
    The kernel that most of the matrix products became, such as brgemm_avx512_bf16.  Those of
    experts are chosen only when the number of tokens is known, and do not count.
    """
    kernels = collections.Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = node.get_rt_info()
        kernel = info["primitiveType"].astype(str)
        if info["layerType"].astype(str) == "FullyConnected" and not kernel.startswith("undef"):
            kernels[kernel] += 1
    return kernels.most_common(1)[0][0] if kernels else "unknown"


class OpenVinoBf16(OpenVino):
    name, precision, strict, rival = "openvino-bf16", "bf16", False, "libvmoe-bf16"


class OpenVinoInt8(OpenVino):
    """Quantised after training by NNCF; what is not int8 is bfloat16 where the CPU has it."""

    name, precision, strict, rival = "openvino-int8", "bf16", False, "libvmoe-int8"

    def model(self, case, core):
        if case.geometry.experts:
            raise Unfit("no operator for experts")
        path, source = case.file(f"-{case.batch}-int8.xml"), case.onnx()
        if is_older(path, source):
            quantize(case, core.read_model(source), path)
        return core.read_model(path)

    def compile(self, core, model, threads, precision):
        try:
            return super().compile(core, model, threads, precision)
        except Unfit:
            return super().compile(core, model, threads, "f32")


def quantize(case, model, path):
    """NNCF's default for transformers: SmoothQuant, ranges from a few pictures, fast correction."""
    os.environ.setdefault("CI", "true")  # else it reports its use to its makers
    import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    count = -(-CALIBRATION // case.batch)
    samples = [channels_first(case.pictures(1000 + i)) for i in range(count)]
    with open(os.devnull, "w", encoding="utf-8") as null, contextlib.redirect_stdout(null):
        model = nncf.quantize(model, nncf.Dataset(samples), subset_size=count,
                              model_type=nncf.ModelType.TRANSFORMER)
    part = pathlib.Path(f"{path.with_suffix('')}-part.xml")
    openvino.save_model(model, part, compress_to_fp16=False)
    part.with_suffix(".bin").replace(path.with_suffix(".bin"))
    part.replace(path)


CONTENDERS = {contender.name: contender for contender in (
    Libvmoe, LibvmoeBf16, LibvmoeInt8, LibvmoeInt8Weights, LibvmoeEverything, OnnxRuntime,
    OnnxRuntimeFused, OpenVino, OpenVinoBf16, OpenVinoInt8)}
