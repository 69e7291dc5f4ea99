#!/usr/bin/env python3
"""Writes the seeds: inputs with a meaning, which a fuzzer would take long to find. Run it where it lies.

The order of bytes is that of the targets' `Header` types, as `arbitrary` reads them: numbers from the front,
little-endian; an enum as the u32 that picks its variant.
"""

import json
import struct
from pathlib import Path

HERE = Path(__file__).parent


def write(target, seeds):
    folder = HERE / target
    folder.mkdir(exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


def variant(index, variants):
    return struct.pack("<I", -(-index * 2**32 // variants))


KINDS = ["raw", "near", "grid", "few", "nasty"]


def recipe(kind, base=0.0, exponent=0, double=True):
    base = struct.pack("<d", base) if double else bytes(4) + struct.pack("<f", base)
    return variant(KINDS.index(kind), len(KINDS)) + base + struct.pack("<b", exponent)


def nasty(seed, kind):
    """A kind by its place in `KINDS` of tests/common/nasty.rs; the data that follow are a byte for each value."""
    return variant(KINDS.index("nasty"), len(KINDS)) + struct.pack("<QB", seed, kind)


def sides(features, inner):
    """Also wide ones (features from 961 on, inner up to 4) and long ones (inner from 15884 on, features up to 2)."""
    if features >= 961:
        return struct.pack("<HH", 0xE000 + (features - 961 - 0xE000) % 3200, inner - 1)
    if inner > 200:
        base = next(base for base in (2, 1, 3) if abs(inner - (None, 2**14, 2**15, 2**16)[base]) < 500)
        steps = inner - (None, 2**14, 2**15, 2**16)[base] + 500
        return struct.pack("<HH", features - 1, 0xE000 + 4 * steps + base)
    return struct.pack("<HH", features - 1, inner - 1)


AS_IS, ALL_NAN, INFINITE, LARGEST, ALTERNATING = range(5)


def samples(what, every=1):
    return variant(what, 5) + bytes([every - 1])


def f64(*values):
    return struct.pack(f"<{len(values)}d", *values)


def f32(*values):
    return struct.pack(f"<{len(values)}f", *values)


def steps(*values):
    return struct.pack(f"<{len(values)}h", *values)


NAN, INF, MAX, TINY = float("nan"), float("inf"), 1.7976931348623157e308, 5e-324
PAYLOAD = bytes.fromhex("efbeadde0000f4ff")
RAMP = steps(*range(-40, 60, 3))


def paths_agree():
    def seed(double, features, inner, length, options, recipe, data, what=AS_IS, every=1):
        length = struct.pack("<HB", length, options) + samples(what, every)
        return bytes([double]) + sides(features, inner) + length + recipe + data

    return {
        "rows_f32": seed(0, 5, 1, 0xE000, 16, recipe("near", 1e4, double=False), RAMP),
        "strips_f32": seed(0, 80, 1, 0xE000, 16, recipe("grid", 3.0, -3, double=False), RAMP),
        "planes_f64": seed(1, 2, 130, 0xE000, 16, recipe("grid", 1e8, -9), RAMP),
        "bits_f64": seed(1, 3, 7, 0x7FFF, 24, recipe("raw"), f64(1.0, -2.0, 3e-310, INF, 7.0) + PAYLOAD),
        "bits_f32": seed(0, 63, 2, 0x7FFF, 1, recipe("raw"), f32(1.0, 1e-45, 3e38, -INF, -0.0, NAN)),
        "overflow_f64": seed(1, 9, 1, 0xE000, 2, recipe("few"), f64(MAX, -MAX, 1e-310, 1.0) + bytes(range(37))),
        "large_f32": seed(0, 3, 49, 0xFFF0, 16, recipe("near", -1e2, double=False), RAMP),
        "large_f64": seed(1, 80, 1, 0xFFF2, 16, recipe("grid", 1e6, -20), RAMP),
        "nasty_f32": seed(0, 7, 1, 0xE000, 16, nasty(1, 28), bytes(600)),
        "nasty_f64": seed(1, 1, 77, 0xE000, 16, nasty(2, 42), bytes(600)),
        # Far from the pivot, chunk after chunk.
        "walk_f64": seed(1, 80, 1, 0xE000, 16, nasty(6, 44), bytes(600)),
        "walk_planes_f64": seed(1, 2, 77, 0xE000, 16, nasty(7, 44), bytes(600)),
        # Tiles of columns, of sums and of outputs; the last one with several chunks.
        "tiles_f32": seed(0, 1025, 1, 0xE000, 80, recipe("near", 1e4, double=False), RAMP),
        "tiles_f64": seed(1, 3333, 1, 0xF000, 144, recipe("grid", 1e6, -20), RAMP),
        "tiles_inner_f64": seed(1, 1300, 3, 0xF000, 16, recipe("grid", 1e6, -20), RAMP),
        "tiles_of_chunks_f32": seed(0, 1030, 1, 0xFFF0, 16, recipe("near", 1e4, double=False), RAMP),
        # Planes of a chunk, and of more; in the parallel path's pieces, too.
        "long_f32": seed(0, 2, 16500, 0xF000, 80, recipe("near", 1e4, double=False), RAMP),
        "long_f64": seed(1, 1, 32771, 0x8000, 16, recipe("grid", 1e8, -9), RAMP),
        "cut_f64": seed(1, 2, 65540, 0xFFF0, 16, nasty(9, 44), bytes(600)),
        # Samples from which there is no shift, in some features.
        "nan_samples_f64": seed(1, 24, 1, 0xE000, 16, recipe("grid", 1e6, -20), RAMP, ALL_NAN, 3),
        "infinite_samples_f32": seed(0, 3, 49, 0xE000, 16, recipe("near", 1e4, double=False), RAMP, INFINITE, 2),
        "largest_samples_f64": seed(1, 80, 1, 0xE000, 16, recipe("grid", 1e6, -20), RAMP, LARGEST, 5),
        "largest_samples_f32": seed(0, 5, 64, 0xE000, 16, recipe("near", 1e4, double=False), RAMP, ALTERNATING, 2),
        "scales_f64": seed(1, 20, 2, 0xD000, 33, recipe("grid", 1e6, -20), RAMP),
        "scales_f32": seed(0, 3, 70, 0xD000, 32, recipe("near", 1e4, double=False), RAMP),
    }


def oracle():
    def seed(double, features, inner, count, once, recipe, data):
        return bytes([double]) + sides(features, inner) + struct.pack("<HB", count, once) + recipe + data

    # Eight values that repeat in each group of eight rows round the same way again and again, and about a pivot that is
    # the mean of other rows nothing makes up for it: the first eight come to lie in the middle of a chunk.
    group = (0.7, 0.3, 0.31, 0.9, 0.4, 0.41, 0.3, 0.8)
    # Half of the pivot's rows are one step up, all others are not: the pivot is far from the mean.
    pivot = [0] * 56 + [1] * 4 + [0] * 68
    # Deviations from the pivot, and their squares, that all round down by almost half a unit.
    lined_up = [47453132.4999 * 2.0**-52] * 22 + [-1.0] * 55 + [47453132.4999 * 2.0**-52] * 23
    return {
        "offset_f64": seed(1, 1, 1, 65535, 0, recipe("near", 1e12), RAMP),
        "offset_f32": seed(0, 64, 1, 1300, 0, recipe("near", 1e6, double=False), RAMP),
        "planes_f64": seed(1, 2, 100, 60000, 0, recipe("grid", -5.0, -30), RAMP),
        "outlier_f64": seed(1, 1, 1, 65535, 1, recipe("grid", 0.5, 3), steps(30000, *range(9))),
        "lined_up_f64": seed(1, 64, 1, 100, 0, recipe("raw"), f64(*lined_up)),
        # Found by the fuzzer: an outlier, in one feature in the pivot's rows: all is computed again, about the mean.
        "outlier_pivot_f64": bytes.fromhex("1149000000016360ea006766ffff2abfff00000000000000002abfffff2c"),
        # One value is a unit above all others: normalised, these are what an f64 mean leaves over.
        "one_above_f32": seed(0, 1, 1, 65535, 1, recipe("raw"), f32(1e6 + 0.0625, 1e6)),
        "one_above_f64": seed(1, 1, 1, 65535, 1, recipe("raw"), f64(1e6 + 2.0**-33, 1e6)),
        "pivot_f32": seed(0, 64, 1, 128, 0, recipe("near", 3.0000002, double=False), steps(*pivot)),
        "pivot_f64": seed(1, 64, 1, 128, 0, recipe("near", 3.0000002), steps(*pivot)),
        "groups_f64": seed(1, 64, 1, 128, 8, recipe("raw"), f64(*[0.5] * 8, *group)),
        "groups_f32": seed(0, 64, 1, 128, 8, recipe("raw"), f32(*[1.0] * 8, *[x * 1e-7 for x in group])),
        "constant_f64": seed(1, 3, 5, 9000, 0, recipe("raw"), f64(0.1)),
        "zeros_f64": seed(1, 1, 1, 9, 0, recipe("raw"), f64(0.0, -0.0)),
        "subnormal_f64": seed(1, 1, 33, 40000, 0, recipe("raw"), f64(TINY, 3e-310, -2e-308, 0.0)),
        "small_squares_f64": seed(1, 64, 1, 1300, 0, recipe("grid", 0.0, -128), RAMP),
        "largest_f64": seed(1, 64, 1, 1300, 0, recipe("near", MAX), steps(*range(-9, 1))),
        "large_squares_f64": seed(1, 64, 1, 1300, 0, recipe("few"), f64(1e150, -2e150, 1e153, 3.0) + bytes(range(37))),
        "poisoned_f64": seed(1, 2, 1, 300, 0, recipe("raw"), f64(1.0, INF, 2.0)),
        "nasty_f32": seed(0, 64, 1, 2000, 0, nasty(3, 31), bytes(2000)),
        "nasty_f64": seed(1, 1, 1, 2000, 0, nasty(4, 14), bytes(2000)),
        "walk_f64": seed(1, 1, 1, 2000, 0, nasty(8, 44), bytes(2000)),
        "tiles_f64": seed(1, 1030, 1, 100, 0, recipe("near", 1e12), RAMP),
        "tiles_f32": seed(0, 2050, 2, 60, 0, recipe("near", 1e6, double=False), RAMP),
        "long_f64": seed(1, 2, 16390, 40000, 0, recipe("near", 1e12), RAMP),
        "cut_f32": seed(0, 1, 65540, 60000, 0, recipe("near", 1e6, double=False), RAMP),
        # Outer blocks choose the layer: scales out of range.
        **{f"scale_{outer}_f64": seed(1, 5, 1, outer, 0, recipe("grid", 1.0, -9), RAMP) for outer in range(52, 56)},
    }


def split_and_merge():
    def seed(double, features, inner, length, pieces, order, recipe, data, what=AS_IS, every=1):
        pieces = struct.pack("<4H", *pieces) + variant(order, 3) + samples(what, every)
        return bytes([double]) + sides(features, inner) + struct.pack("<H", length) + pieces + recipe + data

    return {
        "rows_f32": seed(0, 1, 1, 0xFFFF, (32768, 1, 32767, 77), 0, recipe("near", 1e4, double=False), RAMP),
        "rows_f64": seed(1, 64, 1, 0xFFFF, (512, 0, 3, 1300), 1, recipe("near", 1e12), RAMP),
        "planes_f32": seed(0, 1, 33, 0xC000, (511, 1, 513, 2), 2, recipe("grid", 2.5, -2, double=False), RAMP),
        "outlier_f64": seed(1, 3, 2, 0x1400, (1, 50, 50, 50), 0, recipe("grid", 0.0, -5), steps(30000, *range(50))),
        "bits_f32": seed(0, 2, 1, 0x1000, (9, 10, 0, 11), 2, recipe("raw"), f32(1.0, 1e-45, 3e38, -INF, 1.0, -0.0)),
        "largest_f64": seed(1, 1, 1, 0x0780, (3, 4, 5, 1), 0, recipe("near", MAX), steps(0, 0, -1, 0, 0, -2, 0)),
        "nasty_f64": seed(1, 1, 1, 0xFFFF, (32768, 0, 1, 40000), 2, nasty(5, 24), bytes(900)),
        "tiles_f64": seed(1, 1100, 1, 0xFFFF, (7, 1, 90, 30), 0, recipe("near", 1e12), RAMP),
        "cut_f32": seed(0, 1, 65540, 0xFFF0, (1, 0, 1, 1), 2, recipe("near", 1e4, double=False), RAMP),
        "largest_samples_f64": seed(1, 7, 1, 0xF000, (50, 512, 9, 900), 1, recipe("grid", 1.0, -9), RAMP, LARGEST, 2),
        "nan_samples_f64": seed(1, 7, 40, 0xF000, (5, 51, 9, 9), 1, recipe("grid", 1.0, -9), RAMP, ALL_NAN, 2),
    }


def merges():
    def seed(length, halvings, one_by_one, candidates, picks):
        header = struct.pack("<HBBB?", length - 2, len(picks) - 1, len(candidates) - 1, halvings, one_by_one)
        return header + b"".join(struct.pack("<HBB", *candidate) for candidate in candidates) + bytes(picks)

    half = [(470, 0, 0), (530, 0, 0), (470, 1, 0), (530, 1, 0)]
    lengths = [(900, 0, 0), (1100, 1, 200), (1030, 2, 131), (777, 1, 255), (20, 0, 0), (2000, 0, 0), (1, 2, 0), (0, 1, 0)]
    return {
        "three": seed(1001, 0, False, half, [0, 3, 1]),
        "searched": seed(1001, 0, False, half, [0, 1, 2, 3, 3, 1, 0, 2] * 3),
        "one_by_one": seed(777, 0, True, half, [3, 0, 1] * 8),
        "lengths": seed(2049, 0, False, lengths, [0, 1, 2, 3, 4, 5, 6, 7, 5, 2, 1]),
        "most": seed(4096, 5, False, lengths, list(range(63))),
        "constant": seed(100, 0, False, [(0, 1, 0)], [0] * 9),
    }


def streams():
    def seed(double, features, length, options, alpha, recipe, data, wide=0, pieces=(1, 0, 5, 40)):
        kind, value = alpha
        alpha = variant(kind, 4) + struct.pack("<H" if kind in (0, 3) else "<B", value)
        head = bytes([double, features - 1, wide]) + struct.pack("<H", length) + bytes(pieces) + bytes([90, 170])
        return head + bytes([options]) + alpha + recipe + data

    adjust, again, merged, clip, unbiased, no_eps = (1 << bit for bit in range(6))
    share, power, nearly_one, half_life = range(4)
    ramp, poison = RAMP * 3, f64(1.0, INF, 2.0, NAN, 3.0, -INF, *range(60))
    overflow = f64(MAX, -MAX, 1e200, 1.0) + bytes(range(97))
    small, long = recipe("grid", 3.0, -4), {"pieces": (255, 1, 200, 0)}
    return {
        # Few rows, which exact arithmetic can follow.
        "rows_f32": seed(0, 9, 0x6000, adjust | clip, (share, 6553), recipe("near", 1e4, double=False), ramp),
        "rows_f64": seed(1, 17, 0x7000, again | unbiased, (half_life, 40), recipe("near", 1e12), ramp),
        "column_f64": seed(1, 1, 0x8000, merged | clip, (power, 7), recipe("grid", 1e6, -20), ramp),
        # Weights that hardly fall, after a first one that is large; and weights that fall fast.
        "slow_f64": seed(1, 1, 0x2800, unbiased, (power, 30), small, ramp),
        "fast_f64": seed(1, 3, 0x3400, adjust | clip, (nearly_one, 30), small, ramp),
        "newest_f64": seed(1, 3, 0x3400, no_eps, (nearly_one, 59), recipe("grid", 1e6, -4), ramp),
        # Many rows: the shift moves, and the unit of m2 changes.
        "walk_f64": seed(1, 2, 0xF000, merged | again, (share, 655), nasty(6, 44), bytes(900), **long),
        "outlier_f32": seed(0, 70, 0xF800, adjust | clip, (half_life, 99), nasty(7, 24), bytes(999), **long),
        "wide_f64": seed(1, 67, 0xFFFF, merged | clip, (power, 1), recipe("grid", 1e8, -9), ramp, wide=0xFF),
        # What is not finite, or overflows.
        "poison_f64": seed(1, 11, 0xA000, merged, (power, 3), recipe("raw"), poison),
        "poison_f32": seed(0, 5, 0xA000, again | clip, (power, 3), nasty(2, 42), bytes(2000)),
        "infinite_f64": seed(1, 4, 0xC000, merged | again, (power, 2), nasty(3, 43), bytes(2000)),
        "overflow_f64": seed(1, 5, 0x8000, merged, (power, 2), recipe("few"), overflow),
    }


def shapes():
    def side(value):
        return bytes([0, value]) if value < 8 else bytes([4, value])

    most = bytes([5, 0])

    def new(*three):
        return variant(0, 6) + b"".join(three)

    def call(index, data):
        return b"\1" + variant(index, 24) + data

    def forward(train, x, y=None, residual=None):
        return call(13, bytes([train]) + x + option(y) + option(residual))

    def backward(of, moments, x, dy, dx=None, relu=None):
        return call(15, variant(of, 5) + moments + x + dy + option(dx) + option(relu))

    def fold(into, weight, bias, channels, groups):
        return call(16, variant(into, 5) + bytes([weight, bias]) + channels + groups)

    def option(data):
        return b"\0" if data is None else b"\1" + data

    def array(*values):
        return b"".join(b"\1" + value for value in values) + b"\0"

    fits = variant(0, 2)
    batch, other, none = (new(side(n), side(c), side(1)) + fits for n, c in ((6, 5), (6, 4), (0, 5)))
    relu, no_stats, ddof = call(23, b"\1"), call(21, b""), call(18, f64(0.0))
    return {
        "train": b"\5" + forward(1, batch) + forward(0, batch, batch) + forward(1, batch, batch, batch),
        "other_features": b"\4" + forward(1, batch) + forward(0, batch, batch) + forward(0, other, other, batch),
        "no_features": b"\0" + forward(1, new(side(5), side(0), side(1)) + fits),
        "empty": b"\5" + forward(0, new(side(0), side(5), most) + fits) + forward(1, none) + no_stats + forward(0, none),
        "overflow": b"\1" + call(0, new(most, side(2), side(2)) + fits) + call(0, new(most, most, side(0)) + fits),
        "options": b"\3" + call(2, f64(1e-3)) + call(3, f64(NAN)) + call(11, f64(-1.0)) + call(11, f64(2.0)) + ddof,
        "accumulate": b"\1" + call(1, side(5) + side(1) + batch) + call(1, side(0) + most + batch),
        "one_row": b"\5" + b"".join(
            option + forward(1, new(side(1), side(5), side(1)) + fits) for option in (b"", call(20, b"\1\0"), ddof, no_stats)
        ),
        "shards": b"\5" + call(14, b"\1" + batch + batch + option(batch)) + call(14, b"\0" + none + batch + option(None)),
        "backward": b"\5" + b"".join(backward(of, batch, batch, batch) + backward(of, none, none, none) for of in range(5)),
        "backward_relu": b"\5" + relu + b"".join(
            backward(of, batch, batch, batch) + backward(of, batch, batch, batch, batch, batch) for of in range(5)
        ),
        "backward_mistakes": b"\5" + b"".join(
            backward(of, none, batch, batch) + backward(of, batch, batch, other) + backward(of, batch, batch, batch, other)
            for of in range(5)
        ),
        "fold": b"\4" + b"".join(fold(into, 24, bias, side(6), side(2)) for into in range(5) for bias in (4, 6)),
        # No weights are a multiple of any number.
        "fold_nothing": b"\4" + fold(2, 0, 4, most, side(1)),
        "sums": b"\1" + call(17, array(struct.pack("<Q", 4)) + array(f64(1.5)) + 3 * array(f64(0.0))),
    }


def exam_csv():
    return {
        "scores": b"maths,science\n90,85\n21.5, 90\n",
        "no_header": b"1,2,3\r\n-4,5e3,6\r\n",
        "quoted": b'"a ""b""","c\nd"\n"1"," 2"\n',
        "not_numbers": b"a,b\n1,NaN\ninf,-0\n2,x\n",
        "ragged": b"a,b\n1\n",
        "utf8": "\ufeffvärden,数学\n1,2\n".encode(),
        "not_utf8": b"a,\xff\n1,2\n",
        "empty_cells": b",\n1,2\n",
        "nothing": b"\n",
        "signed_nan": b"a,b\n+nan,1\n2,3\n",
        "semicolons": b'\xef\xbb\xbf"a; b";c\r\n-1,5;2\r\n\r\n;"3,5"\r\n',
        "tabs": b"name\t2019\t2020\t2021\nx\t1\tNA\t3\n",
    }


def state():
    def file(data=b"", **tensors):
        header, places = {}, b""
        for name, (dtype, shape, values) in tensors.items():
            header[name.replace("__", ".")] = {"dtype": dtype, "shape": shape, "data_offsets": [len(places), len(places) + len(values)]}
            places += values
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + places + data

    ones, batches = ("F32", [2], f32(1.0, 1.0)), ("I64", [], struct.pack("<q", 3))
    statistics = {"running_mean": ones, "running_var": ones, "num_batches_tracked": batches}
    return {
        "layer": file(weight=ones, bias=ones, **statistics),
        "plain": file(**{f"bn__{name}": tensor for name, tensor in statistics.items()}),
        "types": file(
            **{"1__weight": ("F16", [3], 3 * b"\0\x3c"), "1__bias": ("BF16", [3], 3 * b"\x80\x3f")},
            **{"1__running_mean": ("F64", [3], f64(0.0, NAN, 1.0)), "1__running_var": ("F32", [3], f32(1.0, 0.0, 2.0))},
        ),
        "negative": file(running_mean=ones, running_var=("F32", [2], f32(-1.0, 1.0)), num_batches_tracked=batches),
        "no_features": file(weight=("F32", [0], b""), bias=("F32", [0], b"")),
        "billion": file(running_mean=("F32", [10**9], b""), running_var=("F32", [10**9], b"")),
        "cut": file(**statistics)[:-1],
        "longer": file(data=b"\0", **statistics),
    }


for make in (paths_agree, oracle, split_and_merge, merges, streams, shapes, exam_csv, state):
    write(make.__name__, make())
