#!/usr/bin/env python3
"""Compares `benchmark run` and `perplexity` with lm-evaluation-harness on the same model and files.

    pip install 'lm-eval[hf]==0.4.13'
    cargo build --release --example benchmark --example perplexity
    scripts/compare_lm_eval.py --model MODEL --text wiki.txt --bytes 20000

makes up questions in the real formats of MMLU, C-Eval, AGIEval and GSM8K, runs our programs on them, and on
the same rows the harness's own tasks. Of each task it compares each prompt byte for byte, each log-likelihood
within --tolerance, each filtered reply (up to the first byte that is no UTF-8) and each metric, and prints a
row; what differs is listed, and the exit status is then 1. `--mmlu`, `--ceval`, `--agieval`, `--gsm8k` with `--train` name published files in the place
of made-up ones, `--only` some of the tasks. `--ours` compares what an earlier `benchmark run` has written,
with the same files and --limit; of several runs in its directory the last is taken. `--tokenizer DIR` in the
place of --model takes a small random llama with that tokenizer, such as one that has a beginning token.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import made_up_benchmarks

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
CHINESE = ("gaokao", "jec", "logiqa-zh")
CLOZE = ("math", "gaokao-mathcloze")
KINDS = ("mmlu", "ceval", "agieval", "gsm8k")
BIN_DIR = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent / "target")) / "release" / "examples"


def jsonl(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def mmlu_rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return [{"question": r[0], "choices": r[1:5], "answer": "ABCD".index(r[5])} for r in csv.reader(file)]


def ceval_rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def agieval_rows(path):
    """The `query`, `choices`, `gold` of hails/agieval-*, by AGIEval's zero-shot prompt."""
    chinese = path.stem.startswith(CHINESE) and path.stem != "gaokao-english"
    ask, options, cloze = ("问题：", " 选项：", "\n答案：") if chinese else ("Q: ", " Answer Choices: ", "\nA: The answer is")
    rows = []
    for row in jsonl(path):
        query = (row["passage"] or "") + ask + row["question"]
        if path.stem in CLOZE:
            rows.append({"query": query + cloze, "answer": row["answer"]})
            continue
        count = len(row["options"])
        last = "ABCDEFG"[(count if count > 1 else 4 if chinese else 5) - 1]
        query += options + " ".join(row["options"]) + "\n"
        query += f"答案：从A到{last}, 我们应选择" if chinese else f"A: Among A through {last}, the answer is"
        rows.append({"query": query, "choices": row["options"], "gold": sorted("ABCDEFG".index(c) for c in row["label"])})
    return rows


def tasks(args, scratch):
    """The harness's tasks, with the rows of local files in the place of its data sets; and their shots."""
    import lm_eval
    from lm_eval.tasks._yaml_loader import load_yaml

    home = Path(lm_eval.__file__).parent / "tasks"

    def task(yaml, splits):
        files = {}
        for split, rows in splits.items():
            files[split] = str(scratch / f"{yaml.stem}_{split}.jsonl")
            with open(files[split], "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        local = {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}
        return load_yaml(yaml) | local

    def subjects(folder, split, rows, yaml):
        for path in sorted((folder / split).glob(f"*_{split}.csv")):
            subject = path.stem.removesuffix(f"_{split}")
            dev = folder / "dev" / f"{subject}_dev.csv"
            yield task(home / yaml.format(subject), {"dev": rows(dev), split: rows(path)}), 5

    if args.mmlu:
        yield from subjects(args.mmlu, "test", mmlu_rows, "mmlu/default/mmlu_{}.yaml")
    if args.ceval:
        yield from subjects(args.ceval, "val", ceval_rows, "ceval/ceval-valid_{}.yaml")
    for path in sorted(args.agieval.glob("*.jsonl")) if args.agieval else []:
        yield task(home / "agieval" / f"{path.stem}.yaml", {"test": agieval_rows(path)}), 0
    if args.gsm8k:
        yield task(home / "gsm8k" / "gsm8k.yaml", {"test": jsonl(args.gsm8k), "train": jsonl(args.train)}), 5


def ours_samples(folder, name):
    paths = sorted(folder.glob(f"samples_{name}_2*.jsonl"))
    if not paths:
        sys.exit(f"{folder} has no samples of {name}")
    return {(s["doc_id"], s["filter"]): s for s in jsonl(paths[-1])}


def compare_sample(theirs, ours, tolerance):
    """What differs between two samples."""
    for i, argument in enumerate(theirs["arguments"]):
        mine = ours["arguments"][f"gen_args_{i}"]
        if mine["arg_0"] != argument[0]:
            yield f"prompt {mine['arg_0']!r}, theirs {argument[0]!r}"
        if isinstance(argument[1], str) and mine["arg_1"] != argument[1]:
            yield f"continuation {mine['arg_1']!r}, theirs {argument[1]!r}"
    for mine, other in zip(ours["filtered_resps"], theirs["filtered_resps"], strict=True):
        if isinstance(other, str):
            # Bytes that are no UTF-8, as random models say them, are spelled differently.
            known = other.split("\ufffd")[0]
            if mine != other and not (known != other and mine.startswith(known)):
                yield f"reply {mine!r}, theirs {other!r}"
        elif abs(float(mine[0]) - other[0]) > tolerance or mine[1] != str(other[1]):
            yield f"log-likelihood {mine}, theirs {list(other)}"
    for metric in theirs["metrics"]:
        if abs(ours[metric] - theirs[metric]) > 1e-9:
            yield f"{metric} {ours[metric]}, theirs {theirs[metric]}"


def compare_metrics(theirs, ours):
    """What differs between two tasks' figures."""
    for key, value in theirs.items():
        if "," in key and isinstance(value, float):
            mine = ours.get(key)
            if not isinstance(mine, float) or abs(mine - value) > 1e-9:
                yield f"{key} {mine}, theirs {value}"


def gap(theirs, ours):
    """The largest difference of two samples' log-likelihoods."""
    pairs = zip(ours["filtered_resps"], theirs["filtered_resps"], strict=True)
    return max((abs(float(mine[0]) - other[0]) for mine, other in pairs if not isinstance(other, str)), default=None)


class Table:
    """A row for each task, and what differs in it."""

    def __init__(self):
        self.differing = 0
        print(f"{'task':34} {'samples':>7} {'differ':>6} {'max |log-likelihood|':>20}  metrics: ours, theirs")

    def row(self, name, samples, differing, largest, metrics, found):
        largest = "" if largest is None else f"{largest:.1e}"
        metrics = "; ".join(f"{key} {mine:.6g}, {other:.6g}" for key, mine, other in metrics)
        print(f"{name:34} {samples:7} {differing:6} {largest:>20}  {metrics}")
        print("".join(f"  {text}\n" for text in found), end="", flush=True)
        self.differing += len(found)


def compare_task(table, theirs, folder, figures, tolerance):
    """Of one task: the harness's samples and figures against those of a run of ours."""
    (name,) = theirs["samples"]
    samples = ours_samples(folder, name)
    found, differing, largest = [], 0, None
    for sample in theirs["samples"][name]:
        key = sample["doc_id"], sample["filter"]
        differences = list(compare_sample(sample, samples[key], tolerance))
        found += [f"{key}: {text}" for text in differences]
        differing += bool(differences)
        largest = max((g for g in (largest, gap(sample, samples[key])) if g is not None), default=None)
    metrics = theirs["results"][name]
    found += compare_metrics(metrics, figures[name])
    shown = [(key, figures[name][key], value) for key, value in metrics.items() if "," in key and "_stderr" not in key]
    table.row(name, len(theirs["samples"][name]), differing, largest, shown, found)


def benchmark(args, scratch):
    """Runs ours on the files; the directory with its samples."""
    command = [args.bin_dir / "benchmark", "run", "--model", args.model, "--device", "cpu", "--output", scratch / "ours"]
    for kind in KINDS:
        if getattr(args, kind):
            command += ["--task", kind, "--data", getattr(args, kind)]
    command += ["--train", args.train] if args.gsm8k else []
    command += ["--limit", args.limit] if args.limit else []
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (folder,) = (scratch / "ours").iterdir()
    return folder


def perplexity(args, table, model, scratch):
    """The harness's perplexities of a text, all of it one document."""
    from lm_eval.evaluator import simple_evaluate

    text = args.text.read_bytes()[: args.bytes].decode(errors="ignore")
    (scratch / "text.txt").write_text(text, encoding="utf-8")
    command = [args.bin_dir / "perplexity", "--model", args.model, "--device", "cpu", "--data", scratch / "text.txt", "--definition", "harness", "--json"]
    ours = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    ours = json.loads(ours)["harness"]
    (scratch / "text.jsonl").write_text(json.dumps({"text": text}) + "\n", encoding="utf-8")
    names = ("word_perplexity", "byte_perplexity", "bits_per_byte")
    task = {
        "task": "perplexity", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(scratch / "text.jsonl")}},
        "test_split": "test", "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}",
        "metric_list": [{"metric": name} for name in names],
    }
    theirs = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0)["results"]["perplexity"]
    shown = [(name, ours[name], theirs[f"{name},none"]) for name in names]
    found = [f"{name} {mine}, theirs {other}" for name, mine, other in shown if abs(mine / other - 1) > 1e-4]
    table.row("perplexity (harness)", 1, int(bool(found)), None, shown, found)


def random_llama(folder, tokenizer):
    """A small random llama with a tokenizer."""
    import shutil

    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder)
    known = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(6)
    config = LlamaConfig(
        vocab_size=len(known), hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=1024, bos_token_id=known.bos_token_id, eos_token_id=known.eos_token_id, initializer_range=0.2,
    )
    LlamaForCausalLM(config).float().save_pretrained(folder)
    return folder


def run(args, model=None):
    """The number of differences."""
    from lm_eval.evaluator import simple_evaluate

    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        if args.tokenizer:
            args.model = random_llama(scratch / "model", args.tokenizer)
        if model is None:
            from lm_eval.models.huggingface import HFLM
            from transformers import PreTrainedTokenizerFast

            # AutoTokenizer of transformers 5 takes GPT2Tokenizer's own pre-tokenizer instead of the file's.
            tokenizer = PreTrainedTokenizerFast.from_pretrained(args.model)
            model = HFLM(pretrained=str(args.model), tokenizer=tokenizer, dtype="float32", device="cpu", batch_size=args.batch_size)
        files(args, scratch)
        some = any(getattr(args, kind) for kind in KINDS)
        folder = args.ours or (some and benchmark(args, scratch))
        table = Table()
        if some:
            figures = json.loads(sorted(folder.glob("results_*.json"))[-1].read_text(encoding="utf-8"))["results"]
            for config, shots in tasks(args, scratch):
                theirs = simple_evaluate(model=model, tasks=[config], num_fewshot=shots, limit=args.limit, bootstrap_iters=0)
                compare_task(table, theirs, folder, figures, args.tolerance)
        if args.text:
            perplexity(args, table, model, scratch)
        print(f"{table.differing} differences")
        return table.differing


def files(args, scratch):
    """The files of the tasks: those given, or made-up ones of all tasks, or of those of --only."""
    given = [kind for kind in KINDS if getattr(args, kind)]
    if args.ours:
        return
    made_up_benchmarks.make(scratch / "made", args.questions)
    for kind in args.only if args.only is not None else KINDS:
        if kind not in given:
            setattr(args, kind, scratch / "made" / ("gsm8k_test.jsonl" if kind == "gsm8k" else kind))
            args.train = scratch / "made" / "gsm8k_train.jsonl" if kind == "gsm8k" else args.train


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory in Hugging Face's layout")
    parser.add_argument("--tokenizer", type=Path, help="directory of a tokenizer: a small random llama instead of --model")
    parser.add_argument("--ours", type=Path, help="where an earlier `benchmark run` wrote its files")
    parser.add_argument("--bin-dir", type=Path, default=BIN_DIR, help="our compiled examples")
    parser.add_argument("--only", nargs="*", choices=KINDS, help="made-up questions of these tasks only")
    parser.add_argument("--questions", type=int, default=6, help="made-up questions of each subject")
    for name in (*KINDS, "train"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--text", type=Path, help="a plain text, for perplexity")
    parser.add_argument("--bytes", type=int, help="only so many of its bytes")
    parser.add_argument("--limit", type=int, help="questions of each task, as in our run")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of a log-likelihood")
    parser.add_argument("--batch-size", type=int, default=1)
    args = parser.parse_args(argv)
    if (args.model is None) == (args.tokenizer is None):
        parser.error("give --model or --tokenizer")
    if args.ours and args.tokenizer:
        parser.error("--ours goes with --model")
    if args.gsm8k and not args.train:
        parser.error("--gsm8k needs --train")
    return args


if __name__ == "__main__":
    sys.exit(1 if run(parse()) else 0)
