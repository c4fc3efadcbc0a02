"""Compares the logits of our models with those of transformers, on fresh random models of every family and RoPE scaling we read.

    python scripts/compare_transformers.py [--bin-dir target/release/examples] [--only TEXT] [--model DIR ...] [--seed N] [--keep DIR]

Each case is a config.json (transformers-4 keys, then the same as transformers 5 writes it) with random weights; our side is the example
`logits`, theirs AutoModelForCausalLM in f32 with eager attention. --model adds directories of real models. Ends with 1 if anything differs.
"""
import argparse, os, shutil, sys, tempfile
import torch
from transformers import AutoConfig
from common import BIN_DIR, TINY, Examples, Failed, Report, load, logits, quiet, random_model

LENGTH, TOLERANCE = 40, 2e-4
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
MISTRAL = {"model_type": "mistral", "sliding_window": 8}
QWEN2 = {"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 8, "max_window_layers": 0, "rope_theta": 1000000.0}
QWEN3 = {**QWEN2, "model_type": "qwen3", "head_dim": 32, "attention_bias": False}
ABSENT = object()  # a key that the file doesn't have
# name -> what differs from TINY
CASES = {
    "llama": {},
    "llama, as many kv heads": {"num_key_value_heads": 4},
    "llama, one kv head": {"num_key_value_heads": 1},
    "llama, few keys": {k: ABSENT for k in ("num_key_value_heads", "rms_norm_eps", "rope_theta", "rope_scaling", "tie_word_embeddings", "hidden_act",
                                            "max_position_embeddings", "torch_dtype")},
    "llama, head_dim": {"head_dim": 24},
    "llama, tied": {"tie_word_embeddings": True},
    "llama, attention_bias": {"attention_bias": True},
    "llama, mlp_bias": {"mlp_bias": True},
    "llama, rope_theta": {"rope_theta": 500000.0},
    "llama, eps": {"rms_norm_eps": 1e-2},
    "linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "linear, old key": {"rope_scaling": {"type": "linear", "factor": 2.5}},
    "linear, both keys": {"rope_scaling": {"type": "dynamic", "rope_type": "linear", "factor": 2.0}},
    "dynamic, short": {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "dynamic, long": {"max_position_embeddings": 16, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}},
    "dynamic, original": {"max_position_embeddings": 32, "rope_scaling": {"type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 8}},
    "llama3": {"rope_scaling": LLAMA3},
    "llama3, as Llama 3.1": {"max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": {**LLAMA3, "original_max_position_embeddings": 8192}},
    "yarn": {"rope_scaling": YARN},
    "yarn, low theta": {"rope_theta": 100.0, "rope_scaling": YARN},
    "yarn, old key": {"rope_theta": 100.0, "rope_scaling": {"type": "yarn", **{k: v for k, v in YARN.items() if k != "rope_type"}}},
    "yarn, attention_factor": {"rope_scaling": {**YARN, "attention_factor": 0.75, "mscale": 2.0, "mscale_all_dim": 0.5}},
    "yarn, mscale": {"rope_scaling": {**YARN, "mscale": 2.0, "mscale_all_dim": 0.5}},
    "yarn, mscale alone": {"rope_scaling": {**YARN, "mscale": 2.0}},
    "yarn, betas": {"rope_theta": 100.0, "rope_scaling": {**YARN, "beta_fast": 0.75, "beta_slow": 0.125}},
    "yarn, not truncated": {"rope_theta": 100.0, "rope_scaling": {**YARN, "beta_fast": 0.75, "beta_slow": 0.125, "truncate": False}},
    "yarn, no original": {"max_position_embeddings": 32, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
    "mistral": MISTRAL,
    "mistral, head_dim": {**MISTRAL, "head_dim": 24},
    "mistral, no window": {**MISTRAL, "sliding_window": None},
    "mistral, few keys": {**MISTRAL, "num_attention_heads": 8, **{k: ABSENT for k in ("num_key_value_heads", "sliding_window", "rope_theta")}},
    "qwen2": QWEN2,
    "qwen2, tied": {**QWEN2, "tie_word_embeddings": True},
    "qwen2, window": {**QWEN2, "use_sliding_window": True},
    "qwen2, window from layer 2": {**QWEN2, "use_sliding_window": True, "max_window_layers": 2},
    "qwen2, yarn": {**QWEN2, "rope_scaling": YARN},
    "qwen3": QWEN3,
    "qwen3, tied": {**QWEN3, "tie_word_embeddings": True},
    "qwen3, attention_bias": {**QWEN3, "attention_bias": True},
    "qwen3, window from layer 1": {**QWEN3, "use_sliding_window": True, "max_window_layers": 1},
    "qwen3, default head_dim": {**QWEN3, "head_dim": ABSENT},
}
# The files' own variety: name -> (element type, shards)
FILES = {"llama, bf16 on disk": (torch.bfloat16, 1), "llama, f16 on disk": (torch.float16, 1), "llama, 3 shards": (torch.float32, 3),
         "llama, bf16 in 2 shards": (torch.bfloat16, 2)}


def compare(report, name, examples, folder, ids):
    try:
        report.compare(name, examples.logits(folder, ids), logits(load(folder), ids), TOLERANCE)
    except Failed as why:
        report.fail(name, why)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default=BIN_DIR, help="where the compiled examples are")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the cases whose name has this in it")
    parser.add_argument("--model", action="append", default=[], metavar="DIR", help="a model directory to compare as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", metavar="DIR", help="keep the models here")
    options = parser.parse_args()
    quiet()
    examples = Examples(options.bin_dir)
    examples.require("logits")
    work, report = options.keep or tempfile.mkdtemp(prefix="compare-"), Report()
    draw = lambda vocab: torch.randint(3, vocab, (LENGTH,), generator=torch.Generator().manual_seed(options.seed + 1)).tolist()
    try:
        for name, differs in CASES.items():
            if options.only not in name:
                continue
            folder = os.path.join(work, name.replace(", ", "-").replace(" ", "_"))
            config = {k: v for k, v in {**TINY, **differs}.items() if v is not ABSENT}
            random_model(folder, config, options.seed)
            compare(report, name, examples, folder, draw(config["vocab_size"]))
            AutoConfig.from_pretrained(folder).to_json_file(f"{folder}/config.json")
            compare(report, f"{name} (v5)", examples, folder, draw(config["vocab_size"]))
        for name, (dtype, shards) in FILES.items():
            if options.only in name:
                folder = os.path.join(work, name.replace(", ", "-").replace(" ", "_"))
                random_model(folder, TINY, options.seed, dtype, shards)
                compare(report, name, examples, folder, draw(TINY["vocab_size"]))
        for folder in options.model:
            compare(report, os.path.basename(os.path.abspath(folder)), examples, folder, draw(AutoConfig.from_pretrained(folder).vocab_size))
    finally:
        if not options.keep:
            shutil.rmtree(work)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
