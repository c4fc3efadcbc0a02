"""Golden numbers from PEFT and transformers for adapters, full fine-tuning, accumulation and schedules.

    python llm-lora/tests/goldens/gen_goldens.py [OUT_DIR] [--only RUN ...]     (OUT_DIR: this folder)

Made with torch 2.15.0, transformers 5.23.0 and peft 0.21.2 on a CPU, one thread, f32, eager attention.

  base/, base_tied/, base_bias/   random llamas of two layers: untied, tied, with attention and MLP biases
  batches.safetensors             input_ids, labels [8, 2, 16], probe_ids [1, 16]; rows are padded on the right with 0 (label -100),
                                  no attention mask: attention is causal
  RUN/                            eight steps of AdamW (0.9, 0.999, 1e-8), weight decay 0, clip 1.0, lr 5e-3 under a cosine with two
                                  steps of warm-up (the first step has lr 0); loss: the mean over the supervised tokens of a batch
    adapter_init/, adapter_final/   as PEFT saves them (lists sorted, for PEFT writes sets in any order)
    golden.safetensors              losses [8] (before the update), grad_norms [8] (before clipping), lrs [8] f64,
                                    probe_logits_init, probe_logits_final, probe_logits_merged [1, 16, V]
  full/                           the same with all weights of base/: lr 2e-3, weight decay 0.1 on matrices (embedding and head included)
                                  and none on norms; golden.safetensors without _merged; model.safetensors: the final weights
  accumulation.safetensors        four rows of unequal length over base/: input_ids, attention_mask, labels [4, 16]; tokens [1];
                                  loss [1] = summed loss / tokens, its gradients grad.<parameter>; mean_of_row_losses [1] for contrast
  schedules.json                  runs: learning-rate factors of each step; warmup_steps: what transformers makes of a ratio

An update of Adam depends on the sign of gradients next to zero, so each run is made in f64 as well, and a seed is taken only where f32
and f64 end at the same weights (within MAX_DRIFT of each tensor's largest).
"""
import argparse, json, os, shutil, warnings
from types import SimpleNamespace
import torch, transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, TrainingArguments

STEPS, WARMUP, ROWS, SEQ, VOCAB, LR, FULL_LR, MAX_DRIFT = 8, 2, 2, 16, 96, 5e-3, 2e-3, 3e-5
ATTENTION, MLP = ["q_proj", "k_proj", "v_proj", "o_proj"], ["gate_proj", "up_proj", "down_proj"]
BASE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": VOCAB,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
        "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
BASES = {"base": {}, "base_tied": {"tie_word_embeddings": True}, "base_bias": {"attention_bias": True, "mlp_bias": True}}
QV = {"target_modules": ["q_proj", "v_proj"]}
# name -> (base, fields of LoraConfig besides r = 4 and lora_alpha = 8)
RUNS = {
    "rslora_train": ("base", {**QV, "use_rslora": True}),
    "dora_train": ("base", {"target_modules": ATTENTION + MLP, "use_dora": True}),
    "pattern_train": ("base", {"target_modules": ["q_proj", "v_proj", "down_proj"],
                               "rank_pattern": {"down_proj": 3, r"layers\.0\.self_attn\.q_proj": 2, "q_proj": 6},  # the first match counts
                               "alpha_pattern": {"^model.layers.1.self_attn.q_proj": 2, "v_proj": 12}}),
    "bias_all": ("base_bias", {**QV, "bias": "all"}),
    "bias_lora_only": ("base_bias", {"target_modules": ["q_proj", "down_proj"], "bias": "lora_only"}),
    "modules_to_save": ("base", {**QV, "modules_to_save": ["lm_head", "embed_tokens"]}),
    # PEFT gives the head a copy of its own; the embedding stays frozen as it was, and a merged model is no longer tied
    "modules_to_save_tied": ("base_tied", {**QV, "modules_to_save": ["lm_head"]}),
    "layers_exclude": ("base", {"target_modules": ["q_proj", "k_proj", "up_proj"], "layers_to_transform": [1], "exclude_modules": ["self_attn.k_proj"]}),
    "regex_targets": ("base", {"target_modules": r".*\.layers\.1\.(self_attn\.(q|o)_proj|mlp\.down_proj)"}),
    "all_linear": ("base", {"target_modules": "all-linear"}),
}


def write_base(folder, differs, seed):
    config = LlamaConfig(**{**BASE, **differs})
    model, rng = LlamaForCausalLM(config), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            mean, scale = (1.0, 0.2) if "norm" in name else (0.0, 0.4) if p.dim() == 1 else (0.0, 0.6) if "embed" in name else (0.0, 1.2 / p.shape[1] ** 0.5)
            p.copy_(mean + scale * torch.randn(p.shape, generator=rng))
    os.makedirs(folder, exist_ok=True)
    v4 = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **BASE, **differs, "rope_theta": 10000.0, "rope_scaling": None,
          "torch_dtype": "float32", "transformers_version": "4.46.0"}
    with open(f"{folder}/config.json", "w") as file:
        json.dump(v4, file, indent=1)
    tied = config.tie_word_embeddings
    save_file({k: v.contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}, f"{folder}/model.safetensors", metadata={"format": "pt"})


def load(folder, dtype=torch.float32):
    # f64 only for the check: norms and RoPE compute in f32 all the same
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")


def rows(rng, count):
    """Rows of unequal length with unequal prompts, padded on the right."""
    ids, labels, mask = torch.zeros(count, SEQ, dtype=torch.int64), torch.full((count, SEQ), -100), torch.zeros(count, SEQ, dtype=torch.int64)
    for row in range(count):
        length, prompt = int(torch.randint(9, SEQ + 1, (1,), generator=rng)), int(torch.randint(2, 7, (1,), generator=rng))
        ids[row, :length] = torch.randint(3, VOCAB, (length,), generator=rng)
        ids[row, 0] = 1
        labels[row, prompt:length] = ids[row, prompt:length]
        mask[row, :length] = 1
    return ids, labels, mask


def train(model, groups, lr, batches):
    params = [p for group in groups for p in group["params"]]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses, norms, lrs = [], [], []
    model.train()
    for ids, labels in zip(*batches):
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(params, 1.0).item())
        losses.append(loss.item())
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"losses": torch.tensor(losses), "grad_norms": torch.tensor(norms), "lrs": torch.tensor(lrs, dtype=torch.float64)}


def probe(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=ids, use_cache=False).logits.float()


def drift(model, exact):
    """The largest distance between the trained weights of two models, relative to each tensor's largest weight."""
    other = dict(exact.named_parameters())
    return max(((p - other[n]).abs().max() / other[n].abs().max()).item() for n, p in model.named_parameters() if p.requires_grad)


def attach(base, fields, dtype, seed):
    model = get_peft_model(load(base, dtype), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM", **fields), autocast_adapter_dtype=False)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if "lora_A" in name:  # PEFT's own distribution, not its order of draws
                p.copy_((2 * torch.rand(p.shape, generator=rng) - 1) / p.shape[1] ** 0.5)
    model.peft_config["default"].base_model_name_or_path = os.path.basename(base)
    return model


def save_adapter(model, folder):
    model.save_pretrained(folder, save_embedding_layers=False)
    os.remove(f"{folder}/README.md")
    with open(f"{folder}/adapter_config.json") as file:
        config = json.load(file)
    for field in ("target_modules", "exclude_modules"):
        if isinstance(config[field], list):
            config[field].sort()
    with open(f"{folder}/adapter_config.json", "w") as file:
        json.dump(config, file, indent=2, sort_keys=True)


def run(out, name, batches, ids):
    base, fields = RUNS[name]
    folder, seed, base = f"{out}/{name}", 0, f"{out}/{base}"
    shutil.rmtree(folder, ignore_errors=True)
    groups = lambda model: [{"params": [p for p in model.parameters() if p.requires_grad], "weight_decay": 0.0}]
    while True:
        model, exact = attach(base, fields, torch.float32, seed), attach(base, fields, torch.float64, seed)
        save_adapter(model, f"{folder}/adapter_init")
        golden = {"probe_logits_init": probe(model, ids)}
        golden |= train(model, groups(model), LR, batches)
        train(exact, groups(exact), LR, batches)
        if (far := drift(model, exact)) < MAX_DRIFT:
            break
        seed += 1
    save_adapter(model, f"{folder}/adapter_final")
    golden["probe_logits_final"] = probe(model, ids)
    for stage in ("init", "final"):
        reloaded = PeftModel.from_pretrained(load(base), f"{folder}/adapter_{stage}")
        assert torch.equal(probe(reloaded, ids), golden[f"probe_logits_{stage}"]), f"{name}: the {stage} adapter does not reload"
    golden["probe_logits_merged"] = probe(model.merge_and_unload(), ids)
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{folder}/golden.safetensors")
    moved = (golden["probe_logits_final"] - golden["probe_logits_init"]).abs().max().item()
    unmerged = (golden["probe_logits_merged"] - golden["probe_logits_final"]).abs().max().item()
    report(name, seed, far, golden, f"logits move {moved:.2f}, merged differ {unmerged:.0e}")


def run_full(out, batches, ids):
    def groups(model):
        return [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
                {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    folder = f"{out}/full"
    os.makedirs(folder, exist_ok=True)
    model, exact = load(f"{out}/base"), load(f"{out}/base", torch.float64)
    golden = {"probe_logits_init": probe(model, ids)}
    golden |= train(model, groups(model), FULL_LR, batches)
    train(exact, groups(exact), FULL_LR, batches)
    golden["probe_logits_final"] = probe(model, ids)
    save_file({k: v.contiguous() for k, v in golden.items()}, f"{folder}/golden.safetensors")
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, f"{folder}/model.safetensors", metadata={"format": "pt"})
    report("full", "-", drift(model, exact), golden, "")


def report(name, seed, far, golden, more):
    show = lambda key: [round(x, 4) for x in golden[key].tolist()]
    print(f"{name:20s} seed {seed} drift {far:.0e} losses {show('losses')} grad_norms {show('grad_norms')} {more}")


def accumulation(out):
    ids, labels, mask = rows(torch.Generator().manual_seed(21), 4)
    ids[1, 9:], labels[1, 9:], mask[1, 9:] = 0, -100, 0  # one short row
    model = load(f"{out}/base")
    tokens = int((labels[:, 1:] != -100).sum())
    losses = [model(input_ids=i[None, :n], labels=l[None, :n], use_cache=False).loss for i, l, n in zip(ids, labels, mask.sum(1).tolist())]
    counts = (labels[:, 1:] != -100).sum(1)
    loss = sum(each * count for each, count in zip(losses, counts)) / tokens
    loss.backward()
    golden = {"input_ids": ids, "labels": labels, "attention_mask": mask, "tokens": torch.tensor([tokens]), "loss": loss.reshape(1),
              "mean_of_row_losses": torch.stack(losses).mean().reshape(1)}
    golden |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    at_once = model(input_ids=ids, labels=labels, use_cache=False).loss
    assert (at_once - loss).abs() < 1e-5 and (golden["mean_of_row_losses"] - loss).abs() > 0.01
    save_file({k: v.detach().contiguous() for k, v in golden.items()}, f"{out}/accumulation.safetensors")
    print(f"accumulation         tokens per row {counts.tolist()} loss {loss.item():.4f}, mean of the rows' {golden['mean_of_row_losses'].item():.4f}")


def schedules(out):
    warmup_steps = lambda total, wanted: TrainingArguments.get_warmup_steps(SimpleNamespace(warmup_steps=wanted), total)
    table = []
    for kind in ("constant", "constant_with_warmup", "linear", "cosine"):
        for total in (10, 25):
            for wanted in (0, 3, 0.03, 0.1):  # steps, or a ratio below 1
                steps = warmup_steps(total, wanted)
                optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
                schedule = transformers.get_scheduler(kind, optimizer, steps, total)
                factors = []
                for _ in range(total):
                    factors.append(float(optimizer.param_groups[0]["lr"]))
                    optimizer.step()
                    schedule.step()
                given = {"warmup_ratio": wanted} if 0 < wanted < 1 else {"warmup_steps": wanted}
                table.append({"schedule": kind, "total_steps": total, **given, "resolved_warmup_steps": steps, "factors": factors})
    ratios = [{"total_steps": t, "warmup_ratio": r, "steps": warmup_steps(t, r)} for t in (1, 7, 10, 25, 33, 100, 1000) for r in (0.0, 0.001, 0.03, 0.07, 0.1, 0.5)]
    note = "steps = ceil(total_steps * warmup_ratio), in f64; 'constant' ignores warm-up; factor of step i (from 0), before its update"
    with open(f"{out}/schedules.json", "w") as file:
        file.write(json.dumps({"note": note, "runs": table, "warmup_steps": ratios}).replace('{"schedule"', '\n{"schedule"').replace('{"total_steps"', '\n{"total_steps"') + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS))
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module="peft|transformers")
    for number, (each, overrides) in enumerate(BASES.items()):
        write_base(f"{options.out}/{each}", overrides, 50 + number)
    draws = torch.Generator().manual_seed(11)
    steps = [rows(draws, ROWS)[:2] for _ in range(STEPS)]
    stacked = torch.stack([i for i, _ in steps]), torch.stack([l for _, l in steps])
    probe_ids = torch.randint(3, VOCAB, (1, SEQ), generator=draws)
    save_file({"input_ids": stacked[0], "labels": stacked[1], "probe_ids": probe_ids}, f"{options.out}/batches.safetensors")
    for each in options.only:
        run(options.out, each, stacked, probe_ids)
    run_full(options.out, stacked, probe_ids)
    accumulation(options.out)
    schedules(options.out)
