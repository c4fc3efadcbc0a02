#!/usr/bin/env python3
"""Hugging Face's strided perplexity and llama.cpp's definition by transformers, to compare with ours.

    perplexity --model MODEL --data TEXT --bytes 20000 --json
    scripts/compare_perplexity.py --model MODEL --data TEXT --bytes 20000

prints one JSON object with the same keys. The windows are those of `perplexity`'s defaults.

    scripts/compare_perplexity.py --model MODEL --data TEXT --bytes 20000 --llama-cpp llama-perplexity --gguf MODEL.gguf

runs llama.cpp's own program on the same weights instead, and ours, and prints figure beside figure; with
`--base DIR --base-gguf FILE` also the KL divergence from that model. Its KV cache is set to f32; weights that
are not f32 in the GGUF file make the figures differ, since llama.cpp then multiplies in 8 bits.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

BIN_DIR = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parent.parent / "target")) / "release" / "examples"
# Names of ours, llama.cpp's lines, and the largest difference: its base is stored in 16 bits.
DIVERGENCE = [
    ("base_perplexity", r"Mean PPL\(base\)\s*:\s*(\S+)", 1e-2), ("perplexity", r"Mean PPL\(Q\)\s*:\s*(\S+)", 1e-2),
    ("ln_perplexity_ratio", r"Mean ln\(PPL\(Q\)/PPL\(base\)\)\s*:\s*(\S+)", 1e-3), ("kl mean", r"Mean\s+KLD:\s*(\S+)", 1e-3),
    ("kl maximum", r"Maximum KLD:\s*(\S+)", 5e-2), ("kl 50 %", r"Median\s+KLD:\s*(\S+)", 1e-3), ("kl 99 %", r"99\.0%\s+KLD:\s*(\S+)", 1e-2),
    ("delta_p mean", r"Mean\s+Δp:\s*(\S+)", 1e-3), ("rms_delta_p", r"RMS Δp\s*:\s*(\S+)", 1e-3), ("same_top", r"Same top p:\s*(\S+)", 1e-2),
]


def strided(model, ids, window, stride):
    """The loop of transformers' documentation, "Perplexity of fixed-length models"."""
    total, tokens, previous = 0.0, 0, 0
    for begin in range(0, ids.size(1), stride):
        end = min(begin + window, ids.size(1))
        targets = ids[:, begin:end].clone()
        targets[:, : -(end - previous)] = -100
        loss = model(ids[:, begin:end], labels=targets).loss
        scored = (targets != -100).sum().item() - 1
        total, tokens, previous = total + loss.item() * scored, tokens + scored, end
        if end == ids.size(1):
            break
    return {"value": math.exp(total / tokens), "tokens": tokens}


def llama_cpp(model, ids, n_ctx, bos):
    """Chunks of n_ctx tokens, the second half of each scored."""
    import torch

    total, tokens = 0.0, 0
    for chunk in ids[0, : ids.size(1) // n_ctx * n_ctx].view(-1, 1, n_ctx).clone():
        if bos is not None:
            chunk[0, 0] = bos
        logs = torch.log_softmax(model(chunk).logits.double(), -1)[0]
        for place in range(n_ctx // 2, n_ctx - 1):
            total -= logs[place, chunk[0, place + 1]].item()
            tokens += 1
    return {"value": math.exp(total / tokens), "tokens": tokens}


def by_transformers(args, text):
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    # AutoTokenizer of transformers 5 takes GPT2Tokenizer's own pre-tokenizer instead of the file's.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    ids = torch.tensor([tokenizer(text).input_ids])
    bos = tokenizer.bos_token_id if ids[0, 0].item() == tokenizer.bos_token_id else None
    with torch.no_grad():
        figures = {
            "huggingface_strided": strided(model, ids, args.n_ctx, args.stride),
            "llama_cpp": llama_cpp(model, ids, args.n_ctx, bos),
        }
    print(json.dumps(figures, indent=2))


def output(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout + done.stderr


def ours(args, file, *more):
    text = output(args.bin_dir / "perplexity", "--model", args.model, "--device", "cpu", "--data", file, "--n-ctx", args.n_ctx, "--json", *more)
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def row(name, mine, theirs, tolerance):
    differs = abs(mine - theirs) > tolerance
    print(f"{name:22} {mine:14.6f} {theirs:14.6f} {abs(mine - theirs):10.1e} {tolerance:8.0e}  {'DIFFERS' if differs else 'ok'}")
    return differs


def by_llama_cpp(args, file):
    """The number of figures that differ."""
    run = [args.llama_cpp, "-f", file, "-c", args.n_ctx, "-b", args.n_ctx, "-t", os.cpu_count(), "-fa", "off", "-ctk", "f32", "-ctv", "f32"]
    print(f"{'figure':22} {'ours':>14} {'llama.cpp':>14} {'difference':>10} {'allowed':>8}")
    mine = ours(args, file, "--definition", "llama-cpp")["llama_cpp"]
    text = output(*run, "-m", args.gguf)
    value, error = map(float, re.search(r"Final estimate: PPL = (\S+) \+/- (\S+)", text).groups())
    # llama.cpp prints four digits and five.
    bad = row("perplexity", mine["value"], value, 1e-3) + row("its error", mine["stderr"], error, 1e-3)
    if not args.base:
        return bad
    stored = file.with_suffix(".base")
    output(*run, "-m", args.base_gguf, "--kl-divergence-base", stored)
    text = output(*run, "-m", args.gguf, "--kl-divergence-base", stored, "--kl-divergence")
    mine = ours(args, file, "--base", args.base)["kl_divergence"]
    kl = dict(mine["kl"]["percentiles"])
    flat = {
        "base_perplexity": mine["base_perplexity"], "perplexity": mine["perplexity"], "ln_perplexity_ratio": mine["ln_perplexity_ratio"]["value"],
        "kl mean": mine["kl"]["mean"]["value"], "kl maximum": mine["kl"]["maximum"], "kl 50 %": kl[50.0], "kl 99 %": kl[99.0],
        "delta_p mean": mine["delta_p"]["mean"]["value"], "rms_delta_p": mine["rms_delta_p"], "same_top": mine["same_top"]["value"],
    }
    for name, pattern, tolerance in DIVERGENCE:
        theirs = float(re.search(pattern, text).group(1).rstrip("%"))
        percent = 100 if name in ("delta_p mean", "rms_delta_p", "same_top") else 1
        bad += row(name, flat[name], theirs / percent, tolerance)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--n-ctx", type=int, default=512)
    parser.add_argument("--stride", type=int, default=256)
    parser.add_argument("--llama-cpp", help="llama.cpp's program llama-perplexity")
    parser.add_argument("--gguf", help="the model for it, in f32")
    parser.add_argument("--base", help="the model that KL divergence is from")
    parser.add_argument("--base-gguf", help="the same for llama.cpp")
    parser.add_argument("--bin-dir", type=Path, default=BIN_DIR, help="our compiled examples")
    args = parser.parse_args()
    if bool(args.llama_cpp) != bool(args.gguf) or bool(args.base) != bool(args.base_gguf) or (args.base and not args.gguf):
        parser.error("--llama-cpp goes with --gguf, and --base with --base-gguf and both of them")
    with open(args.data, "rb") as file:
        text = file.read()[: args.bytes].decode(errors="ignore")
    if not args.llama_cpp:
        return by_transformers(args, text)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "text.txt"
        file.write_text(text, encoding="utf-8")
        return 1 if by_llama_cpp(args, file) else 0


if __name__ == "__main__":
    sys.exit(main())
