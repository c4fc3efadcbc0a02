#!/usr/bin/env python3
"""Compares a benchmark run of ours with lm-evaluation-harness on the same model and files.

    pip install 'lm-eval[hf]==0.4.13'
    benchmark run --model MODEL --task mmlu --data DATA/mmlu --task ceval --data DATA/ceval \\
        --task agieval --data DATA/agieval --task gsm8k --data gsm8k_test.jsonl \\
        --train gsm8k_train.jsonl --limit 20 --output OUT --json
    scripts/compare_lm_eval.py --model MODEL --ours OUT/<model> --mmlu DATA/mmlu --ceval DATA/ceval \\
        --agieval DATA/agieval --gsm8k gsm8k_test.jsonl --train gsm8k_train.jsonl --limit 20

`benchmark run` writes the harness's layout, results_*.json and samples_<task>_*.jsonl; of several runs in
a directory the last is taken. Of each task that is given, this runs the harness's own task on the same
rows and compares each prompt byte for byte, each log-likelihood within --tolerance, each filtered reply
and each metric. Differences are printed; the exit status is 1 where there are any.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
CHINESE = ("gaokao", "jec", "logiqa-zh")
CLOZE = ("math", "gaokao-mathcloze")


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
            if mine != other:
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


def run(args, model=None):
    """The number of differences."""
    from lm_eval.evaluator import simple_evaluate

    if model is None:
        from lm_eval.models.huggingface import HFLM

        model = HFLM(pretrained=str(args.model), dtype="float32", device="cpu", batch_size=args.batch_size)
    figures = json.loads(sorted(args.ours.glob("results_*.json"))[-1].read_text(encoding="utf-8"))["results"]
    differences = 0
    with tempfile.TemporaryDirectory() as scratch:
        for config, shots in tasks(args, Path(scratch)):
            theirs = simple_evaluate(model=model, tasks=[config], num_fewshot=shots, limit=args.limit, bootstrap_iters=1000)
            (name,) = theirs["samples"]
            samples = ours_samples(args.ours, name)
            found = []
            for sample in theirs["samples"][name]:
                key = sample["doc_id"], sample["filter"]
                found += [f"{key}: {text}" for text in compare_sample(sample, samples[key], args.tolerance)]
            found += compare_metrics(theirs["results"][name], figures[name])
            print(f"{name}: {len(theirs['samples'][name])} samples, {len(found)} differences")
            print("".join(f"  {text}\n" for text in found), end="")
            differences += len(found)
    return differences


def parse(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory in Hugging Face's layout")
    parser.add_argument("--ours", type=Path, required=True, help="where `benchmark run` wrote its files")
    for name in ("mmlu", "ceval", "agieval", "gsm8k", "train"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--limit", type=int, help="questions of each task, as in our run")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of a log-likelihood")
    parser.add_argument("--batch-size", type=int, default=1)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(1 if run(parse()) else 0)
