"""The step `filter` of datafusion_job.py in PySpark, with the same records and buckets (docs/terabytes.md). pip install pyspark==4.3.0; Java 17

    python3 spark_job.py --texts RAW.jsonl … --chats RAW.jsonl … --out DIR     DIR/{texts,chats}/bucket=K/part-….snappy.parquet
"""

import argparse

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

SCHEMAS = {
    "texts": "text STRING",
    "chats": "id STRING, messages ARRAY<STRUCT<role: STRING, content: STRING, input: STRING>>",
}
KEYS = {"texts": "text", "chats": "array_join(transform(messages, m -> concat(nvl(m.role, ''), ':', nvl(m.content, ''))), '\n')"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", nargs="*", default=[], help="JSONL of {text}")
    parser.add_argument("--chats", nargs="*", default=[], help="JSONL of {id, messages}")
    parser.add_argument("--out", required=True, help="a directory")
    parser.add_argument("--min", type=int, default=50, help="characters")
    parser.add_argument("--max", type=int, default=20000, help="characters")
    parser.add_argument("--digits", type=int, default=1, help="hexadecimal digits of a bucket's name: 16^digits buckets")
    options = parser.parse_args()

    spark = SparkSession.builder.appName("prepare").config("spark.sql.parquet.compression.codec", "snappy").getOrCreate()
    # A bucket's name is text: without this Spark reads `bucket=0` back as a number.
    spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    for name, schema in SCHEMAS.items():
        files = getattr(options, name)
        if not files:
            continue
        raw = spark.read.schema(schema).json(files)
        source = F.regexp_extract(F.input_file_name(), r"([^/.]+)\.[^/]*$", 1)
        keyed = raw.withColumn("source", source).withColumn("key", F.expr(KEYS[name]))
        sized = keyed.withColumn("characters", F.char_length("key")).where(F.col("characters").between(options.min, options.max))
        plain = F.lower(F.regexp_replace("key", "[ \t\r\n]+", " "))
        hashed = sized.withColumn("hash", F.sha2(plain, 256))
        first = Window.partitionBy("hash").orderBy("source", "key")
        kept = hashed.withColumn("rank", F.row_number().over(first)).where("rank = 1")
        bucketed = kept.drop("key", "rank").withColumn("bucket", F.substring("hash", 1, options.digits))
        out = f"{options.out}/{name}"
        ordered = bucketed.repartition("bucket").sortWithinPartitions("bucket", "hash")
        ordered.write.partitionBy("bucket").option("maxRecordsPerFile", 1_000_000).parquet(out)
        print(f"raw {name}: {raw.count()} records; {out}: {spark.read.parquet(out).count()} records")
    spark.stop()


if __name__ == "__main__":
    main()
