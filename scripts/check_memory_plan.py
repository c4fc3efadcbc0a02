"""Holds the memory that `finetune_alpaca` says it will need against what it needs at most.

    python scripts/check_memory_plan.py --model DIR --data RECORDS.json [--steps N]

Runs a few configurations for some steps each and prints a Markdown table: the plan by kind, the process's largest resident memory, and how far
the plan is off. Ends with 1 if it is off by more than 15 % anywhere. Linux and the standard library are enough.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KINDS = ["weights", "adapter", "optimizer", "gradients", "activations", "logits", "program"]
CONFIGURATIONS = {
    "LoRA, q and v": [],
    "LoRA, all linear": ["--target-modules", "all-linear"],
    "the same, 1024 tokens a forward": ["--target-modules", "all-linear", "--max-tokens-per-forward", "1024", "--micro-batch-size", "16"],
    "the same, bf16": ["--target-modules", "all-linear", "--precision", "bf16"],
    "QLoRA, all linear": ["--target-modules", "all-linear", "--qlora"],
    "LoRA, unpacked": ["--packing", "none"],
    "LoRA, checkpointing, 4096 tokens": ["--target-modules", "all-linear", "--gradient-checkpointing", "--max-tokens-per-forward", "4096", "--micro-batch-size", "32"],
    "DoRA, r 64, all linear": ["--use-dora", "--r", "64", "--target-modules", "all-linear"],
    "full": ["--full", "--learning-rate", "2e-5"],
    "full, bf16, checkpointing": ["--full", "--learning-rate", "2e-5", "--precision", "bf16", "--gradient-checkpointing"],
}
MIB = 1 << 20


def run(command):
    """The plan that the program prints as JSON, and the most memory that it had, in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = process.stdout.read().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    plan = next(row for row in map(json.loads, lines) if row["event"] == "plan")
    return plan["memory"], usage.ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--bin-dir", type=Path, default=ROOT / "target/release/examples")
    options = parser.parse_args()
    common = ["--model", options.model, "--data", options.data, "--show", "0", "--save-steps", "0", "--validation-share", "0"]
    common += ["--max-steps", str(options.steps), "--device", "cpu", "--json"]
    print("| MiB | " + " | ".join(KINDS) + " | plan | measured | off |")
    print("| --- |" + " --- |" * (len(KINDS) + 3))
    worst = 0
    for name, flags in CONFIGURATIONS.items():
        with tempfile.TemporaryDirectory() as output:
            memory, peak = run([options.bin_dir / "finetune_alpaca", *common, "--output", output, *flags])
        plan = sum(memory[kind] for kind in KINDS)
        off = plan / peak - 1
        worst = max(worst, abs(off))
        cells = [f"{memory[kind] / MIB:.0f}" for kind in KINDS] + [f"{plan / MIB:.0f}", f"{peak / MIB:.0f}", f"{off:+.0%}"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return worst > 0.15


if __name__ == "__main__":
    sys.exit(main())
