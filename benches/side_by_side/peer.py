"""One fine-tuning run of transformers + PEFT: the work that our finetune_alpaca is held against.

The first --records records in file order under Alpaca's prompt (masked; prompt and answer encoded apart; EOS appended), cut at
--max-len, in right-padded batches; LoRA without dropout; AdamW without weight decay, gradients clipped to norm 1, a constant
learning rate. Prints one JSON line. With --shape it trains random weights on random ids instead, all of them supervised.

    python peer.py --model DIR --data alpaca.json
    python peer.py --shape 7b --device cuda --dtype bf16 --seq 512 --quantize nf4
"""
import argparse
import json
import os
import resource
import sys
import time

# Read when the libraries are imported. Threads that wait actively slow each other down on a machine that is not idle.
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive"}
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig

from shapes import SHAPES, model_config
from work import causal_pairs, read_config

PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
PROMPT_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
TARGETS = {
    "qv": ["q_proj", "v_proj"],
    "all": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
IGNORED = -100  # the label of a position without loss


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", help="model directory")
    source.add_argument("--shape", choices=SHAPES, help="random weights of this shape, in place of --model and --data")
    parser.add_argument("--data", help="Alpaca records, a JSON array")
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--max-len", type=int, default=640, help="the most tokens of a sample (none of the first 64 is longer)")
    parser.add_argument("--seq", type=int, default=512, help="tokens of a sample of --shape")
    parser.add_argument("--targets", choices=TARGETS, default="qv")
    parser.add_argument("--r", type=int, default=8)
    parser.add_argument("--alpha", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--quantize", choices=["nf4"], help="QLoRA: frozen linear layers in 4 bits, by bitsandbytes")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if options.model and not options.data:
        parser.error("--model needs --data")
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: torch sees none; check `nvidia-smi`, or leave --device cuda out")
    return options


def alpaca_rows(options):
    """(ids, labels) of the first records."""
    tokenizer = Tokenizer.from_file(os.path.join(options.model, "tokenizer.json"))
    end = end_token(read_config(options.model))

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False).ids

    def row(record):
        template = PROMPT_WITH_INPUT if record.get("input") else PROMPT
        prompt, answer = encode(template.format_map(record)), encode(record["output"]) + [end]
        return (prompt + answer)[: options.max_len], ([IGNORED] * len(prompt) + answer)[: options.max_len]

    with open(options.data) as file:
        records = json.load(file)[: options.records]
    if len(records) < options.records:
        sys.exit(f"{options.data} holds {len(records)} records, fewer than --records {options.records}")
    return [row(record) for record in records]


def random_rows(options):
    """(ids, labels) of random samples, every token supervised."""
    shape = (options.records, options.seq)
    return [(ids, ids) for ids in torch.randint(SHAPES[options.shape]["vocab_size"], shape).tolist()]


def end_token(config):
    end = config["eos_token_id"]
    return end[0] if isinstance(end, list) else end


def load(options):
    """The model on its device, without adapter."""
    dtype = DTYPES[options.dtype]
    if options.shape:
        model = AutoModelForCausalLM.from_config(LlamaConfig(**model_config(options.shape)), dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
    if options.quantize:
        quantize(model, options.device, dtype)
    return model.to(options.device)


def quantize(model, device, dtype):
    """Puts 4-bit layers (NF4, double quantisation) in the place of the decoder's linear ones; the head stays as it is."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    linear = [(name, layer) for name, layer in model.model.named_modules() if isinstance(layer, torch.nn.Linear)]
    for name, layer in linear:
        small = Linear4bit(
            layer.in_features, layer.out_features, bias=layer.bias is not None,
            compute_dtype=dtype, compress_statistics=True, quant_type="nf4", device="meta",
        )
        small.weight = Params4bit(layer.weight.detach(), quant_type="nf4", module=small)  # double quantisation is its default
        small.bias = layer.bias
        model.model.set_submodule(name, small.to(device))  # quantises
    model.is_loaded_in_4bit = True  # by this PEFT tells


def adapt(model, options):
    """LoRA on the targets, ready to train."""
    lora = LoraConfig(
        r=options.r, lora_alpha=options.alpha, lora_dropout=0.0, target_modules=TARGETS[options.targets], task_type="CAUSAL_LM"
    )
    model = get_peft_model(model, lora)
    if options.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    return model.train()


def collate(rows, end, device):
    """A right-padded batch."""
    width = max(len(ids) for ids, _ in rows)

    def pad(lists, filler):
        return torch.tensor([x + [filler] * (width - len(x)) for x in lists], device=device)

    return {
        "input_ids": pad([ids for ids, _ in rows], end),
        "labels": pad([labels for _, labels in rows], IGNORED),
        "attention_mask": pad([[1] * len(ids) for ids, _ in rows], 0),
    }


def train(model, rows, options):
    """Loss, tokens, supervised tokens and seconds of every step."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.0)
    end, steps = end_token(model.config.to_dict()), []
    for first in range(0, len(rows), options.micro_batch):
        chosen = rows[first : first + options.micro_batch]
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model(**collate(chosen, end, options.device), use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        value = loss.item()
        if options.device == "cuda":
            torch.cuda.synchronize()
        steps.append({
            "loss": value,
            "tokens": sum(len(ids) for ids, _ in chosen),
            "supervised_tokens": sum(label != IGNORED for _, labels in chosen for label in labels[1:]),
            "seconds": time.perf_counter() - start,
        })
    return steps


def main():
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    rows = random_rows(options) if options.shape else alpaca_rows(options)
    model = adapt(load(options), options)
    if options.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    steps = train(model, rows, options)
    seconds = sum(step["seconds"] for step in steps)
    result = {
        "steps": steps,
        "losses": [round(step["loss"], 4) for step in steps],
        "examples_per_s": len(rows) / seconds,
        "tokens_per_s": sum(step["tokens"] for step in steps) / seconds,
        "supervised_tokens_per_s": sum(step["supervised_tokens"] for step in steps) / seconds,
        "seconds": seconds,
        "causal_pairs": causal_pairs(len(ids) for ids, _ in rows),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if options.device == "cuda":
        result["peak_allocated_mb"] = torch.cuda.max_memory_allocated() / 2**20
    print(json.dumps(result))


if __name__ == "__main__":
    main()
