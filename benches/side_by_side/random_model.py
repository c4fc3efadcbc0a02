"""Writes a model directory of random bf16 weights: one shard a layer, config.json last.

    python random_model.py --shape 7b --tokenizer examples/models/tiny --output DIR
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from shapes import SHAPES, model_config

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def shards(config):
    """The names and shapes of every file's tensors; norms have one dimension."""
    hidden, middle, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        square = {f"{prefix}self_attn.{name}_proj.weight": (hidden, hidden) for name in "qkvo"}
        yield square | {
            f"{prefix}mlp.gate_proj.weight": (middle, hidden),
            f"{prefix}mlp.up_proj.weight": (middle, hidden),
            f"{prefix}mlp.down_proj.weight": (hidden, middle),
            f"{prefix}input_layernorm.weight": (hidden,),
            f"{prefix}post_attention_layernorm.weight": (hidden,),
        }
    yield {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,), "lm_head.weight": (vocab, hidden)}


def tensor(shape, deviation, device):
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    return (torch.randn(shape, device=device) * deviation).to("cpu", torch.bfloat16)


def write(shape, tokenizer, output):
    config, device = model_config(shape), "cuda" if torch.cuda.is_available() else "cpu"
    output.mkdir(parents=True, exist_ok=True)
    files, index, size = list(shards(config)), {}, 0
    for number, tensors in enumerate(files, 1):
        name = f"model-{number:05}-of-{len(files):05}.safetensors"
        weights = {key: tensor(dims, config["initializer_range"], device) for key, dims in tensors.items()}
        save_file(weights, output / name, metadata={"format": "pt"})
        index |= dict.fromkeys(weights, name)
        size += sum(weight.nbytes for weight in weights.values())
        print(f"wrote {output / name}", flush=True)
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer / name, output / name)
    index = {"metadata": {"total_size": size}, "weight_map": index}
    (output / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (output / "config.json").write_text(json.dumps(config, indent=1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True, help="model directory whose tokenizer is copied")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    write(options.shape, options.tokenizer, options.output)


if __name__ == "__main__":
    main()
