#!/usr/bin/env python3
"""Hugging Face's strided perplexity and llama.cpp's definition by transformers, to compare with ours.

    perplexity --model MODEL --data TEXT --bytes 20000 --json
    scripts/compare_perplexity.py --model MODEL --data TEXT --bytes 20000

prints one JSON object with the same keys. The windows are those of `perplexity`'s defaults.
"""

import argparse
import json
import math

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


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
    total, tokens = 0.0, 0
    for chunk in ids[0, : ids.size(1) // n_ctx * n_ctx].view(-1, 1, n_ctx).clone():
        if bos is not None:
            chunk[0, 0] = bos
        logs = torch.log_softmax(model(chunk).logits.double(), -1)[0]
        for place in range(n_ctx // 2, n_ctx - 1):
            total -= logs[place, chunk[0, place + 1]].item()
            tokens += 1
    return {"value": math.exp(total / tokens), "tokens": tokens}


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bytes", type=int)
    parser.add_argument("--n-ctx", type=int, default=512)
    parser.add_argument("--stride", type=int, default=256)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    with open(args.data, "rb") as file:
        text = file.read()[: args.bytes].decode(errors="ignore")
    ids = torch.tensor([tokenizer(text).input_ids])
    bos = tokenizer.bos_token_id if ids[0, 0].item() == tokenizer.bos_token_id else None
    figures = {
        "huggingface_strided": strided(model, ids, args.n_ctx, args.stride),
        "llama_cpp": llama_cpp(model, ids, args.n_ctx, bos),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
