"""Prepares JSONL with DataFusion for prepare_data (docs/terabytes.md). pip install datafusion==55.0.0 pyarrow numpy

    datafusion_job.py filter --texts RAW.jsonl … --chats RAW.jsonl … --out DIR     DIR/{texts,chats}/bucket=K/part-000.parquet
    datafusion_job.py near --chats DIR/chats --out DIR                             DIR/{alone,near}/bucket=K/part-000.parquet

`filter` keeps records of a length between two bounds and one of each set of equals; `near` puts possible near-duplicates,
found by bands of MinHash, into the same bucket, so that prepare_data can judge each bucket by itself.
"""

import argparse
import hashlib
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext, udf

TEXT = pa.schema([("text", pa.string())])
# Given, not inferred: inference reads the first records only and may miss a field of a later file.
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("input", pa.string())])
CHAT = pa.schema([("id", pa.string()), ("messages", pa.list_(MESSAGE))])
BANDS, ROWS, SHINGLE = 20, 5, 3  # the defaults of the step near_duplicates
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(f"[{CJK}]|[^\\W_{CJK}]+")


def joined(messages):
    """role:content, a line each."""
    if isinstance(messages.type, pa.LargeListType):
        messages = messages.cast(pa.list_(messages.type.value_type))
    values = messages.flatten()
    role, content = (pc.fill_null(pc.struct_field(values, name).cast(pa.string()), "") for name in ("role", "content"))
    lines = pc.binary_join_element_wise(role, content, ":")
    lengths = pc.fill_null(pc.list_value_length(messages), 0)
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), lines), "\n")


def bands(texts):
    """A key for each band of the MinHash signature; none for a text without words."""
    draw = np.random.default_rng(1)
    odd = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = draw.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)

    def keys(text):
        words = WORD.findall(text.lower())
        shingles = {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}
        if not words:
            return []
        digests = b"".join(hashlib.blake2b(shingle.encode(), digest_size=8).digest() for shingle in shingles)
        mixed = np.frombuffer(digests, dtype="<u8")[:, None] * odd + add
        signature = ((mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)).min(axis=0)
        return [
            hashlib.blake2b(bytes([band]) + signature[band * ROWS : (band + 1) * ROWS].tobytes(), digest_size=16).hexdigest()
            for band in range(BANDS)
        ]

    return pa.array([keys(text.as_py() or "") for text in texts], pa.list_(pa.string()))


def context(memory_mb):
    """Past `memory_mb` sorts and groups go to temporary files; joins are made by sorting, since hash joins cannot."""
    runtime = RuntimeEnvBuilder().with_disk_manager_os().with_fair_spill_pool(memory_mb << 20)
    config = SessionConfig().set("datafusion.optimizer.prefer_hash_join", "false")
    config = config.set("datafusion.execution.parquet.max_row_group_size", "65536")
    config = config.with_batch_size(1024)  # 8192 long texts are much to merge
    ctx = SessionContext(config, runtime)
    ctx.register_udf(udf(joined, [pa.list_(MESSAGE)], pa.string(), "immutable", name="joined"))
    ctx.register_udf(udf(bands, [pa.string()], pa.list_(pa.string()), "immutable", name="bands"))
    return ctx


def write(ctx, query, out):
    """One file for each bucket, Snappy. DataFusion's names are random: names that sort stand for them."""
    if out.exists():
        raise SystemExit(f"{out} exists")
    count = ctx.sql(
        f"COPY ({query}) TO '{out}/' STORED AS PARQUET PARTITIONED BY (bucket) OPTIONS ('format.compression' 'snappy')"
    ).to_pydict()["count"][0]
    for bucket in sorted(out.glob("bucket=*")):
        for at, file in enumerate(sorted(bucket.iterdir(), key=lambda file: (len(file.name), file.name))):
            file.rename(bucket / f"part-{at:03}.parquet")
    size = sum(file.stat().st_size for file in out.rglob("*.parquet"))
    print(f"{out}: {count} records, {len(list(out.rglob('*.parquet')))} files, {size} bytes")


def read_raw(ctx, name, files, schema):
    """A table of all files, with their names as `source`."""
    parts = []
    for at, file in enumerate(files):
        ctx.register_json(f"{name}_{at}", file, schema=schema, file_extension=Path(file).suffix)
        parts.append(f"SELECT *, '{Path(file).name.split('.')[0]}' AS source FROM {name}_{at}")
    ctx.register_view(name, ctx.sql(" UNION ALL ".join(parts)))


def filter_raw(options):
    ctx = context(options.memory_mb)
    for name, files, schema, key in (
        ("texts", options.texts, TEXT, "text"),
        ("chats", options.chats, CHAT, "joined(messages)"),
    ):
        if not files:
            continue
        read_raw(ctx, f"raw_{name}", files, schema)
        columns = ", ".join(field.name for field in schema)
        query = f"""
            WITH keyed AS (SELECT *, {key} AS key FROM raw_{name}),
            sized AS (SELECT *, character_length(key) AS characters,
                             encode(sha256(lower(regexp_replace(key, '[ \\t\\r\\n]+', ' ', 'g'))), 'hex') AS hash
                      FROM keyed WHERE character_length(key) BETWEEN {options.min} AND {options.max}),
            ranked AS (SELECT *, row_number() OVER (PARTITION BY hash ORDER BY source, key) AS rank FROM sized)
            SELECT {columns}, source, characters, hash, substr(hash, 1, {options.digits}) AS bucket
            FROM ranked WHERE rank = 1 ORDER BY hash"""
        print(f"raw {name}: {ctx.sql(f'SELECT count(*) AS n FROM raw_{name}').to_pydict()['n'][0]} records")
        write(ctx, query, Path(options.out) / name)


def components(ctx):
    """The table `labels`: for each record of `edges` the least hash that edges lead to."""
    ctx.register_view("both", ctx.sql("SELECT a, b FROM edges UNION ALL SELECT b, a FROM edges"))
    labels, rounds = ctx.sql("SELECT DISTINCT a AS hash, a AS label FROM both").cache(), 0
    while True:
        ctx.register_view("before", labels)
        labels = ctx.sql("""
            SELECT hash, min(label) AS label FROM (
                SELECT hash, label FROM before
                UNION ALL SELECT both.a, before.label FROM both JOIN before ON both.b = before.hash) GROUP BY hash""").cache()
        ctx.register_view("labels", labels)
        rounds += 1
        same = "SELECT count(*) AS n FROM labels JOIN before ON labels.hash = before.hash WHERE labels.label <> before.label"
        if ctx.sql(same).to_pydict()["n"][0] == 0:
            return rounds
        ctx.deregister_table("before"), ctx.deregister_table("labels")


def near(options):
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    ctx = context(options.memory_mb)
    ctx.register_parquet("chats", options.chats, table_partition_cols=[("bucket", pa.string())])
    with tempfile.TemporaryDirectory(dir=out) as spool:
        banded = f"{spool}/banded.parquet"  # 20 rows for each record: not in memory
        ctx.sql(f"COPY (SELECT hash, unnest(bands(joined(messages))) AS band FROM chats) TO '{banded}' STORED AS PARQUET").collect()
        ctx.register_parquet("banded", banded)
        # Each record of a band is tied to the band's first: n - 1 edges for n records, not n squared.
        edges = """
            WITH first AS (SELECT band, min(hash) AS first FROM banded GROUP BY band HAVING count(*) > 1)
            SELECT DISTINCT first.first AS a, banded.hash AS b
            FROM banded JOIN first ON banded.band = first.band WHERE banded.hash <> first.first"""
        ctx.register_view("edges", ctx.sql(edges).cache())
    rounds = components(ctx)
    sizes = "SELECT count(*) AS records FROM labels GROUP BY label"
    total = ctx.sql(f"SELECT sum(records) AS records, count(*) AS components, max(records) AS largest FROM ({sizes})")
    print(total.to_pylist()[0], f"{rounds} rounds")
    columns = "id, messages, source, characters, chats.hash"
    write(ctx, f"SELECT {columns}, bucket FROM chats LEFT ANTI JOIN labels ON chats.hash = labels.hash ORDER BY hash", out / "alone")
    # A label is the least hash of many and begins with 0: hashed again, components spread over the buckets.
    write(ctx, f"""SELECT {columns}, substr(encode(sha256(label), 'hex'), 1, {options.digits}) AS bucket
                   FROM chats JOIN labels ON chats.hash = labels.hash ORDER BY hash""", out / "near")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("filter")
    command.add_argument("--texts", nargs="*", default=[], help="JSONL of {text}")
    command.add_argument("--chats", nargs="*", default=[], help="JSONL of {id, messages}")
    command.add_argument("--min", type=int, default=50, help="characters")
    command.add_argument("--max", type=int, default=20000, help="characters")
    command.set_defaults(run=filter_raw)
    other = commands.add_parser("near")
    other.add_argument("--chats", required=True, help="what filter wrote")
    other.set_defaults(run=near)
    for each in (command, other):
        each.add_argument("--out", required=True, help="a directory")
        each.add_argument("--memory-mb", type=int, default=2048, help="of sorts and groups")
        each.add_argument("--digits", type=int, default=1, help="hexadecimal digits of a bucket's name: 16^digits buckets")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
