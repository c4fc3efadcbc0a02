"""Makes the files beside it with pyarrow and the zstd command: neither is ours.

python make.py  (pyarrow 21 or later, zstd on the path)
"""

import datetime
import decimal
import json
import struct
import subprocess

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    {"id": "a", "messages": [{"role": "user", "content": "Grüße, 世界"}, {"role": "assistant", "content": "Hi"}], "lang": "de", "score": 0.5, "turns": 1},
    {"id": "b", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q\n\"x\""}, {"role": "assistant", "content": "a"}], "lang": "en", "score": None, "turns": -3},
    {"id": None, "messages": [{"role": "user", "content": "only"}, {"role": "assistant", "content": "answer"}], "lang": "de", "score": 2.25, "turns": 2**53},
]
schema = pa.schema([
    ("id", pa.string()),
    ("messages", pa.large_list(pa.struct([("role", pa.dictionary(pa.int8(), pa.string())), ("content", pa.large_string())]))),
    ("lang", pa.dictionary(pa.int32(), pa.string())),
    ("score", pa.float64()),
    ("turns", pa.int64()),
])
table = pa.Table.from_pylist(ROWS, schema=schema)
pq.write_table(table, "pyarrow.parquet", row_group_size=2, compression={"id": "NONE", "lang": "GZIP", "score": "SNAPPY", "turns": "SNAPPY", "messages.list.element.role": "GZIP", "messages.list.element.content": "SNAPPY"})
table = pa.Table.from_pydict({"text": ["a"]})
for codec in ["zstd", "lz4", "brotli"]:
    pq.write_table(table, f"{codec}.parquet", compression=codec.upper())

# A row with all, one with nothing but nulls, one with what has no form in JSON.
when = datetime.datetime(2024, 2, 29, 12, 30, 15, 250000)
kinds = {
    "text": (pa.binary(), [b"a \xc3\xbc", b"b", b"c"]),
    "large": (pa.large_binary(), [b"a", None, b"\xff"]),
    "view": (pa.binary_view(), [b"a", None, None]),
    "string_view": (pa.string_view(), ["a", None, None]),
    "uuid": (pa.binary(2), [b"aa", None, None]),
    "local": (pa.timestamp("us"), [when, None, None]),
    "second": (pa.timestamp("s", "Europe/Berlin"), [datetime.datetime(1969, 12, 31, 23, 59, 58, tzinfo=datetime.timezone.utc), None, None]),
    "nano": (pa.timestamp("ns", "UTC"), pa.array([1, None, None], pa.int64()).cast(pa.timestamp("ns", "UTC"))),
    "milli": (pa.timestamp("ms"), pa.array([0, None, 2**62], pa.int64()).cast(pa.timestamp("ms"))),
    "day": (pa.date32(), [when.date(), None, None]),
    "day64": (pa.date64(), [when.date(), None, None]),
    "time": (pa.time32("ms"), [when.time(), None, None]),
    "time64": (pa.time64("us"), [when.time(), None, None]),
    "spell": (pa.duration("s"), [datetime.timedelta(1), None, None]),
    "price": (pa.decimal128(12, 2), [decimal.Decimal("-1234567890.50"), None, None]),
    "wide": (pa.decimal256(60, 3), [decimal.Decimal("1e50"), None, None]),
    "half": (pa.float16(), [1.5, None, None]),
    "pair": (pa.list_(pa.int8(), 2), [[1, 2], None, None]),
    "items": (pa.list_view(pa.int8()), [[1, 2], None, None]),
    "tags": (pa.list_(pa.binary()), [[b"x"], None, [b"x", b"\xff"]]),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1), ("n", None)], None, None]),
    "numbered": (pa.map_(pa.int8(), pa.int8()), [[(1, 1)], None, None]),
    "inner": (pa.struct([("day", pa.date32()), ("spell", pa.duration("s"))]), [{"day": when.date(), "spell": datetime.timedelta(1)}, None, None]),
}
table = pa.table({name: values if isinstance(values, pa.ChunkedArray | pa.Array) else pa.array(values, kind) for name, (kind, values) in kinds.items()})
pq.write_table(table, "types.parquet", compression="NONE", use_dictionary=False, write_statistics=False)

table = pa.table({"text": ["a", "b", "c", None], "__extra": [None, '{"cut', "[1]", '{"text": "d", "n": 1}']})
pq.write_table(table, "extra.parquet", compression="NONE", use_dictionary=False, write_statistics=False)

lines = "".join(json.dumps({"text": f"text {n} " * 20}) + "\n" for n in range(500)).encode()
cut = len(lines) // 2 + 7
compress = lambda data: subprocess.run(["zstd", "-q", "-19", "--check", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
skippable = struct.pack("<II", 0x184D2A53, 5) + b"skip!"
with open("frames.jsonl.zst", "wb") as file:
    file.write(compress(lines[:cut]) + skippable + compress(lines[cut:]))
