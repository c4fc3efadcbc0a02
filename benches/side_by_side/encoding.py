#!/usr/bin/env python3
"""Alpaca records to ids and labels: ours against Hugging Face's `tokenizers` with a formatting function.

    encoding.py [--python PYTHON] [--model DIR] [--data FILE[*REPEAT] ...] [--rounds 2]

Both sides run in turn, A B A B, with as many threads as the machine has; medians of five passes each. The Python
side tokenises prompt and prompt + answer in batches, masks the prompt, appends the end token, cuts at 512, as
Alpaca-LoRA did; ours encodes prompt and answer apart, once each. `synthetic` makes the records that
`shared/peers/bench_peers.py tokenize` makes.
"""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PREAMBLE = "Below is an instruction that describes a task"
PLAIN = PREAMBLE + ". Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
WITH_INPUT = (
    PREAMBLE + ", paired with an input that provides further context. Write a response that appropriately completes "
    "the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WORDS = """time person year way day thing man world life hand part child eye woman place work week case point
government company number group problem fact be have do say get make go know take see come think look want give use
find tell ask seem feel try leave call good new first last long great little own other old right big high different
small large next early young important few public bad same able to of in for on with at by from up about into over
after the and a that I it not he as you this but his they her she or an will my one all would there their""".split()


def synthetic(count=4000):
    rng = random.Random(0)

    def sentence(words):
        text = " ".join(rng.choice(WORDS) + rng.choice(["", "", "", ",", ".", "s", "ing", "ed"]) for _ in range(words))
        return text.capitalize() + "."

    def record(index):
        given = sentence(15) if index % 3 == 0 else ""
        return {"instruction": sentence(12), "input": given, "output": sentence(60) + "\n" + sentence(20)}

    return [record(index) for index in range(count)]


def peer(model, file, repeat):
    """The Python side, in a process of its own: prints one JSON object."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    records = json.loads(Path(file).read_text(encoding="utf-8")) * repeat
    end = tokenizer.token_to_id("<|im_end|>") or 2

    def pipeline():
        prompts = [(WITH_INPUT if r.get("input") else PLAIN).format(**r) for r in records]
        whole = tokenizer.encode_batch_fast([p + r["output"] for p, r in zip(prompts, records)])
        samples = []
        for full, prompt in zip(whole, tokenizer.encode_batch_fast(prompts)):
            ids = (full.ids + [end])[:512]
            masked = min(len(prompt.ids), len(ids))
            samples.append((ids, [-100] * masked + ids[masked:]))
        return samples

    pipeline()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        samples = pipeline()
        seconds.append(time.perf_counter() - start)
    rate = len(records) / statistics.median(seconds)
    print(json.dumps({"records": len(records), "tokens": sum(len(ids) for ids, _ in samples), "encode_per_s": rate}))


def run(command):
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=str(CACHE / "llm-peers/bin/python"))
    parser.add_argument("--model", default=str(CACHE / "llm-models/SmolLM2-135M-Instruct-bf16"))
    alpaca = ROOT / "../shared/data/alpaca"
    parser.add_argument("--data", nargs="+", default=["synthetic", f"{alpaca}/alpaca_en_1k.json*4", f"{alpaca}/alpaca_zh_1k.json*4"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return peer(args.peer[0], args.peer[1], int(args.peer[2]))
    bench = ["cargo", "bench", "--quiet", "-p", "benches", "--bench", "data_pipeline"]
    subprocess.run([*bench, "--no-run"], cwd=ROOT, check=True)
    print("| records | ours, examples/s | tokenizers in Python | ours / theirs | tokens, ours and theirs | to disk | read again, MB/s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for data in args.data:
        file, _, repeat = data.partition("*")
        with tempfile.TemporaryDirectory() as scratch:
            if file == "synthetic":
                path = Path(scratch) / "synthetic.json"
                path.write_text(json.dumps(synthetic()), encoding="utf-8")
            else:
                path = Path(file).resolve()
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(run([*bench, "--", args.model, str(path), repeat or "1"]))
                theirs.append(run([args.python, __file__, "--peer", args.model, str(path), repeat or "1"]))
        median = lambda rows, key: statistics.median(row[key] for row in rows)
        mine, other = median(ours, "encode_per_s"), median(theirs, "encode_per_s")
        print(
            f"| {path.name}, {ours[0]['records']} | {mine:.0f} | {other:.0f} | {mine / other:.1f} | "
            f"{ours[0]['tokens']}, {theirs[0]['tokens']} | {median(ours, 'prepare_per_s'):.0f} | "
            f"{median(ours, 'reopen_mb_per_s'):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
