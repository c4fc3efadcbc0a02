"""Makes the files beside it with pyarrow and the zstd command: neither is ours.

python make.py  (pyarrow 21 or later, zstd on the path)
"""

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
table = pa.Table.from_pydict({"text": ["a"], "when": pa.array([0], pa.timestamp("s"))})
pq.write_table(table, "timestamp.parquet", compression="NONE")
pq.write_table(table.select(["text"]), "zstd.parquet", compression="ZSTD")

lines = "".join(json.dumps({"text": f"text {n} " * 20}) + "\n" for n in range(500)).encode()
cut = len(lines) // 2 + 7
compress = lambda data: subprocess.run(["zstd", "-q", "-19", "--check", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
skippable = struct.pack("<II", 0x184D2A53, 5) + b"skip!"
with open("frames.jsonl.zst", "wb") as file:
    file.write(compress(lines[:cut]) + skippable + compress(lines[cut:]))
