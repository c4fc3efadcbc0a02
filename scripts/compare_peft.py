"""Shows that adapters travel between this project and PEFT.

    python scripts/compare_peft.py [--bin-dir target/release/examples] [--model DIR|tiny] [--data FILE] [--only trained|peft|merged|losses ...]

  trained   an adapter that our `finetune_alpaca` trained opens in PEFT: the same keys, and logits equal to our `logits --adapter`
  peft      adapters that PEFT made (LoRA, rsLoRA, DoRA, patterns, biases, modules_to_save, …) give PEFT's logits in our `logits`
  merged    what our `merge` writes opens in transformers and gives the logits of PEFT's merge_and_unload
  losses    the first loss of `finetune_alpaca` equals that of a PEFT loop on the same rows (B = 0: the adapter has no effect yet);
            the later ones are printed side by side, for the random A differs

--model is SmolLM2-135M-Instruct in f32 where ../shared/tools/fetch-smollm2.sh put it, otherwise `tiny`: a random llama with the tokenizer of
../shared/fixtures/tokenizers/smollm2. The adapters of `peft` and `merged` sit on random llamas, one of them on --model.
Ends with 1 if anything differs.
"""
import argparse, json, os, shutil, sys, tempfile, warnings
from common import BIN_DIR, ROOT, TINY, Examples, Failed, Report, load, logits, quiet, random_model
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoConfig

PARTS = ("trained", "peft", "merged", "losses")
TOLERANCE, STEPS, BATCH, WIDTH, RATE = 1e-4, 4, 2, 256, 2e-3
EXACT = torch.float64  # of the reference: on SmolLM2 torch's own f32 attentions, eager and fused, lie 5e-5 apart
SHARED = os.path.join(os.path.dirname(ROOT), "shared")
SMOLLM2 = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "llm-models", "SmolLM2-135M-Instruct-f32")
QV = ["q_proj", "v_proj"]
ALL = QV + ["k_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BASES = {"plain": {}, "tied": {"tie_word_embeddings": True}, "biased": {"attention_bias": True, "mlp_bias": True},
         "qwen3": {"model_type": "qwen3", "head_dim": 32, "tie_word_embeddings": True}}
PATTERNS = {"rank_pattern": {"down_proj": 3, r"layers\.0\.self_attn\.q_proj": 2, "q_proj": 6}, "alpha_pattern": {"^model.layers.1.self_attn.q_proj": 2, "v_proj": 12}}
# name -> (base, fields of LoraConfig besides r = 4 and lora_alpha = 8)
ADAPTERS = {
    "lora": ("plain", {"target_modules": QV}),
    "lora, all-linear": ("plain", {"target_modules": "all-linear"}),
    "lora, regex": ("plain", {"target_modules": r".*\.layers\.[12]\.(self_attn\.(q|o)_proj|mlp\.down_proj)"}),
    "lora, some layers": ("plain", {"target_modules": QV + ["up_proj"], "layers_to_transform": [0, 2], "exclude_modules": ["layers.2.self_attn.q_proj"]}),
    "lora, one layer by pattern": ("plain", {"target_modules": QV, "layers_to_transform": 1, "layers_pattern": "layers"}),
    "lora, excluded by regex": ("plain", {"target_modules": "all-linear", "exclude_modules": r".*\.1\..*|.*(gate|up)_proj"}),
    "lora, tied base": ("tied", {"target_modules": ALL}),
    "lora, qwen3": ("qwen3", {"target_modules": ALL}),
    "patterns": ("plain", {"target_modules": QV + ["down_proj"], **PATTERNS}),
    "rslora": ("plain", {"target_modules": ALL, "use_rslora": True}),
    "rslora, patterns": ("plain", {"target_modules": QV + ["down_proj"], "use_rslora": True, **PATTERNS}),
    "dora": ("plain", {"target_modules": ALL, "use_dora": True}),
    "dora, biased base": ("biased", {"target_modules": ALL, "use_dora": True}),
    "dora, rslora, patterns": ("plain", {"target_modules": QV + ["down_proj"], "use_dora": True, "use_rslora": True, **PATTERNS}),
    "bias all": ("biased", {"target_modules": QV, "bias": "all"}),
    "bias lora_only": ("biased", {"target_modules": QV + ["down_proj"], "bias": "lora_only"}),
    "bias all, no bias in the base": ("plain", {"target_modules": QV, "bias": "all"}),
    "modules_to_save": ("plain", {"target_modules": QV, "modules_to_save": ["lm_head", "embed_tokens"]}),
    "modules_to_save, norms": ("plain", {"target_modules": QV, "modules_to_save": ["norm"]}),
    "modules_to_save, tied head": ("tied", {"target_modules": QV, "modules_to_save": ["lm_head"]}),
    "modules_to_save, tied embedding": ("tied", {"target_modules": QV, "modules_to_save": ["embed_tokens"]}),
}


def tiny_with_tokenizer(folder):
    """A random llama over SmolLM2's vocabulary."""
    tokenizer = os.path.join(SHARED, "fixtures", "tokenizers", "smollm2")
    if not os.path.isdir(tokenizer):
        sys.exit(f"no tokenizer in {tokenizer}: give --model")
    random_model(folder, {**TINY, "vocab_size": 49152, "max_position_embeddings": 1024, "tie_word_embeddings": True, "pad_token_id": 2, "eos_token_id": 2})
    for file in os.listdir(tokenizer):
        shutil.copyfile(os.path.join(tokenizer, file), os.path.join(folder, file))
    return folder


def some_records(path, folder):
    """The run's records in a file of their own: the first that are short enough not to be cut at WIDTH tokens."""
    with open(path) as file:
        records = [{k: r.get(k, "") for k in ("instruction", "input", "output")} for r in json.load(file)]
    records = [r for r in records if r["output"] and sum(map(len, r.values())) < 2 * WIDTH][: STEPS * BATCH]
    out = os.path.join(folder, "records.json")
    with open(out, "w") as file:
        json.dump(records, file, ensure_ascii=False)
    return out, records


def finetune(examples, model, data, out, targets):
    examples.run("finetune_alpaca", "--model", model, "--data", data, "--output", out, "--template", "alpaca", "--max-steps", STEPS, "--micro-batch-size", BATCH,
                 "--r", 4, "--alpha", 8, "--dropout", 0, "--target-modules", targets, "--learning-rate", RATE, "--schedule", "constant", "--warmup-ratio", 0,
                 "--max-seq-len", WIDTH, "--validation-share", 0, "--no-shuffle")
    with open(f"{out}/metrics.jsonl") as file:
        rows = [json.loads(line) for line in file]
    return [row["loss"] for row in rows if "loss" in row]


def open_in_peft(model, adapter):
    """PEFT's model; a key that PEFT misses is an error, and so is one that it would leave unread."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        opened = PeftModel.from_pretrained(load(model, EXACT), adapter)
    if missing := [str(w.message) for w in said if "missing" in str(w.message).lower()]:
        raise Failed(f"PEFT: {missing[0]}")
    expected = {k: list(v.shape) for k, v in get_peft_model_state_dict(opened, save_embedding_layers=False).items()}
    found = {k: list(v.shape) for k, v in load_file(f"{adapter}/adapter_model.safetensors").items()}
    if expected != found:
        different = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
        raise Failed(f"{len(different)} keys or shapes are not PEFT's, the first {different[0]}: {found.get(different[0])}, PEFT: {expected.get(different[0])}")
    return opened


def make_adapter(model, out, fields, scale):
    """An adapter by PEFT whose every trainable weight does something."""
    adapted = get_peft_model(load(model), LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **fields))
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_magnitude" in name:
                p.mul_(1 + 2 * scale * torch.randn(p.shape, generator=rng))
            elif p.requires_grad:
                p.add_(scale * torch.randn(p.shape, generator=rng))
    adapted.save_pretrained(out, save_embedding_layers=False)


def check_merge(report, name, examples, model, adapter, ids):
    merged = f"{adapter}-merged"
    try:
        examples.run("merge", "--model", model, "--adapter", adapter, "--out", merged)
        report.compare(f"merged: {name}", logits(load(merged, EXACT), ids), logits(open_in_peft(model, adapter).merge_and_unload(), ids), TOLERANCE)
    except Failed as why:
        report.fail(f"merged: {name}", why)
    finally:
        shutil.rmtree(merged, ignore_errors=True)


def encode(record, tokenizer, end):
    """Stanford's template; the prompt and the answer are encoded apart, the answer ends with the end token."""
    task = "an instruction that describes a task"
    if record["input"]:
        prompt = (f"Below is {task}, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n"
                  f"### Instruction:\n{record['instruction']}\n\n### Input:\n{record['input']}\n\n### Response:")
    else:
        prompt = f"Below is {task}. Write a response that appropriately completes the request.\n\n### Instruction:\n{record['instruction']}\n\n### Response:"
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    return ids(prompt), ids(record["output"]) + [end]


def peft_losses(model, records, targets):
    config = AutoConfig.from_pretrained(model)
    end = config.eos_token_id[0] if isinstance(config.eos_token_id, list) else config.eos_token_id
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    rows = [encode(r, tokenizer, end) for r in records]
    torch.manual_seed(0)
    adapted = get_peft_model(load(model), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")).train()
    params = [p for p in adapted.parameters() if p.requires_grad]
    optimizer, losses = torch.optim.AdamW(params, lr=RATE, weight_decay=0.0), []
    for start in range(0, len(rows), BATCH):
        batch = rows[start:start + BATCH]
        width = max(len(prompt) + len(answer) for prompt, answer in batch)
        pad = lambda row, fill: row + [fill] * (width - len(row))
        ids = torch.tensor([pad(prompt + answer, end) for prompt, answer in batch])
        labels = torch.tensor([pad([-100] * len(prompt) + answer, -100) for prompt, answer in batch])
        mask = torch.tensor([pad([1] * len(prompt + answer), 0) for prompt, answer in batch])
        loss = adapted(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def draw(model, count=24):
    config = AutoConfig.from_pretrained(model)
    return torch.randint(3, config.vocab_size, (count,), generator=torch.Generator().manual_seed(3)).tolist()


def check_trained(report, examples, parts, model, data, records, work):
    ids = draw(model)
    for name, targets, wanted in (("q_proj,v_proj", "q_proj,v_proj", QV), ("all-linear", "all-linear", ALL)):
        try:
            out = os.path.join(work, f"trained-{name}")
            ours = finetune(examples, model, data, out, targets)
            if "trained" in parts:
                theirs = logits(open_in_peft(model, out), ids)
                report.compare(f"trained: {name}", examples.logits(model, ids, out), theirs, TOLERANCE)
                moved = (theirs - logits(load(model, EXACT), ids)).abs().max().item()
                if moved < 1e-3:
                    report.fail(f"trained: {name}", f"the adapter changes nothing ({moved:.0e})")
            if "losses" in parts:
                theirs = peft_losses(model, records, wanted)
                show = lambda row: " ".join(f"{x:.4f}" for x in row)
                report.compare(f"losses: {name}, the first", torch.tensor(ours[:1]), torch.tensor(theirs[:1]), TOLERANCE)
                print(f"  ours {show(ours)}\n  PEFT {show(theirs)}")
            if "merged" in parts:
                check_merge(report, f"trained, {name}", examples, model, out, ids)
        except Failed as why:
            report.fail(f"trained: {name}", why)


def check_peft(report, examples, parts, model, work):
    for base, differs in BASES.items():
        random_model(os.path.join(work, base), {**TINY, **differs})
    for name, (base, fields) in {**ADAPTERS, f"lora, {os.path.basename(os.path.abspath(model))}": (model, {"target_modules": ALL})}.items():
        try:
            base, adapter = os.path.join(work, base), os.path.join(work, f"adapter-{name}".replace(", ", "-").replace(" ", "_"))
            make_adapter(base, adapter, fields, 0.02 if base == model else 0.1)
            ids = draw(base)
            if "peft" in parts:
                report.compare(f"peft: {name}", examples.logits(base, ids, adapter), logits(open_in_peft(base, adapter), ids), TOLERANCE)
            if "merged" in parts:
                check_merge(report, name, examples, base, adapter, ids)
        except Failed as why:
            report.fail(f"peft: {name}", why)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin-dir", default=BIN_DIR, help="where the compiled examples are")
    parser.add_argument("--model", help="a model directory with a tokenizer, or `tiny`")
    parser.add_argument("--data", default=os.path.join(SHARED, "data", "alpaca", "alpaca_en_1k.json"), help="Alpaca records, a JSON array")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="only these parts")
    options = parser.parse_args()
    quiet()
    warnings.filterwarnings("ignore")
    examples = Examples(options.bin_dir)
    examples.require("logits", "merge", "finetune_alpaca")
    work, report = tempfile.mkdtemp(prefix="compare-peft-"), Report(48)
    try:
        model = options.model or (SMOLLM2 if os.path.isdir(SMOLLM2) else "tiny")
        model = tiny_with_tokenizer(os.path.join(work, "tiny")) if model == "tiny" else os.path.abspath(model)
        print(f"model: {model}")
        if set(options.only) - {"peft"}:
            check_trained(report, examples, options.only, model, *some_records(options.data, work), work)
        if {"peft", "merged"} & set(options.only):
            check_peft(report, examples, options.only, model, work)
    finally:
        shutil.rmtree(work)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
