"""Golden numbers from transformers for the model families and RoPE scalings that this crate reads.

    python llm-core/tests/goldens/gen_goldens.py [OUT_DIR] [--only NAME ...]     (OUT_DIR: this folder)

Made with torch 2.15.0 and transformers 5.23.0 on a CPU, one thread, f32, eager attention. Each folder NAME/ holds

  config.json          the keys of transformers 4 (rope_theta, rope_scaling, torch_dtype)
  config.v5.json       the same as transformers 5 writes it (rope_parameters, dtype)
  model.safetensors    f32, Hugging Face names; scaled up so that logits lie apart and every weight matters
  golden.safetensors   V = vocabulary, i64 ids, f32 numbers:
    input_ids, labels [2, 24]     labels: -100 = not supervised
    logits [2, 24, V], loss [1]   loss: the mean over supervised tokens, labels shifted by one
    grad.<parameter>              the gradient of `loss`, for every parameter (a tied head has none of its own)
    pad_input_ids, pad_mask, pad_position_ids [2, 24], pad_logits [2, 24, V]
                                  row 1 has 7 positions of padding on the left; compare where pad_mask is 1
    packed_input_ids, packed_segment_ids, packed_position_ids [1, 24], packed_logits [1, 24, V]
                                  three sequences of 7, 12 and 5 tokens; the logits are those of each sequence alone
    prompt_ids [10], greedy_ids [20]
                                  the continuation with a KV cache, without a stop token

Dynamic NTK: frequencies follow the longest position of a forward. transformers keeps them from one forward to the
next, so every forward here begins with a fresh rotary module; while decoding, cached keys keep the rotation they were
stored with, as in transformers.
"""
import argparse, json, os
import torch, transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

SEQ, PAD, PROMPT, NEW, LENGTHS, MIN_GAP = 24, 7, 10, 20, (7, 12, 5), 0.01
COMMON = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "vocab_size": 64, "max_position_embeddings": 64,
          "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
          "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2}
LONG = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}  # 8 frequencies: a ramp has something to ramp over
# name -> (config class, what differs from COMMON, in transformers-4 keys)
MODELS = {
    "mistral_swa": (MistralConfig, {"sliding_window": 4, "head_dim": 8}),
    "qwen3_qknorm": (Qwen3Config, {"head_dim": 8, "tie_word_embeddings": True, "attention_bias": False, "rope_theta": 1000000.0,
                                   "use_sliding_window": False, "sliding_window": None, "max_window_layers": 2}),
    "qwen2_swa": (Qwen2Config, {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1, "rope_theta": 1000000.0}),
    "qwen2_bias_tied": (Qwen2Config, {"tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 4, "max_window_layers": 0}),
    "llama_yarn": (LlamaConfig, {**LONG, "rope_theta": 500.0, "rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    "llama_yarn_mscale": (LlamaConfig, {**LONG, "rope_theta": 100.0, "rope_scaling": {
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "mscale": 2.0, "mscale_all_dim": 0.5, "beta_fast": 0.75, "beta_slow": 0.125}}),
    "llama_dynamic": (LlamaConfig, {**LONG, "max_position_embeddings": 16, "rope_theta": 100.0, "rope_scaling": {"type": "dynamic", "factor": 3.0}}),
    "llama3_rope": (LlamaConfig, {**LONG, "max_position_embeddings": 512, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}),
    "llama_bias": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
}


def v4_config(cls, differs):
    architecture = cls.__name__.replace("Config", "ForCausalLM")
    return {"architectures": [architecture], "model_type": cls.model_type, **COMMON, **differs, "torch_dtype": "float32", "transformers_version": "4.46.0"}


def build(folder, seed):
    """The model that the written config.json describes, with random weights."""
    model = AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder), attn_implementation="eager").float().eval()
    tied, rng = model.config.tie_word_embeddings, torch.Generator().manual_seed(seed)
    draw = lambda p, scale, mean=0.0: p.copy_(mean + scale * torch.randn(p.shape, generator=rng))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                draw(p, 0.3, 1.0)
            elif p.dim() == 1:
                draw(p, 0.5)
            elif "embed_tokens" in name:
                draw(p, 0.6 if tied else 1.0)
            else:
                draw(p, 2.0 / p.shape[1] ** 0.5)
    return model


def forward(model, *args, **kwargs):
    """One forward that remembers no earlier one (dynamic NTK keeps its frequencies)."""
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    return model(*args, use_cache=False, **kwargs)


def inputs(vocab, rng):
    ids = torch.randint(3, vocab, (2, SEQ), generator=rng)
    ids[:, 0] = 1
    labels = ids.clone()
    labels[0, :9] = -100
    labels[1, :15] = -100
    return ids, labels


def greedy(model, prompt):
    """Greedy ids with a KV cache and the smallest distance between the best and the second logit on the way."""
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    out = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=NEW, do_sample=False, eos_token_id=None,
                         pad_token_id=0, use_cache=True, return_dict_in_generate=True, output_logits=True)
    top = torch.stack(out.logits)[:, 0].topk(2, -1).values
    return out.sequences[0, prompt.shape[1]:], (top[:, 0] - top[:, 1]).min().item()


def goldens(model, seed):
    rng = torch.Generator().manual_seed(seed + 1000)
    ids, labels = inputs(model.config.vocab_size, rng)
    out = forward(model, input_ids=ids, labels=labels)
    out.loss.backward()
    tensors = {"input_ids": ids, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 1e-4, f"{name} does not matter"
        tensors[f"grad.{name}"] = p.grad
    with torch.no_grad():
        pad_ids, mask = ids.clone(), torch.ones_like(ids)
        pad_ids[1, :PAD] = 0
        mask[1, :PAD] = 0
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        padded = forward(model, input_ids=pad_ids, attention_mask=mask, position_ids=positions)
        alone = forward(model, input_ids=pad_ids[1:, PAD:]).logits[0]
        if model.config.rope_parameters["rope_type"] != "dynamic":  # there the batch's longest row decides
            assert (padded.logits[1, PAD:] - alone).abs().max() < 1e-4
        packed = torch.randint(3, model.config.vocab_size, (1, SEQ), generator=rng)
        rows = packed[0].split(LENGTHS)
        tensors |= {
            "pad_input_ids": pad_ids, "pad_mask": mask, "pad_position_ids": positions, "pad_logits": padded.logits,
            "packed_input_ids": packed, "packed_logits": torch.cat([forward(model, input_ids=row[None]).logits for row in rows], 1),
            "packed_segment_ids": torch.cat([torch.full((n,), i) for i, n in enumerate(LENGTHS)])[None],
            "packed_position_ids": torch.cat([torch.arange(n) for n in LENGTHS])[None],
        }
        tensors["prompt_ids"] = ids[0, :PROMPT]
        tensors["greedy_ids"], gap = greedy(model, ids[:1, :PROMPT])
        whole = forward(model, input_ids=torch.cat([tensors["prompt_ids"], tensors["greedy_ids"]])[None]).logits[0, PROMPT - 1:-1]
        same = torch.equal(whole.argmax(-1), tensors["greedy_ids"])
        assert same or model.config.rope_parameters["rope_type"] == "dynamic", "the cache changes the continuation"
    return {k: v.detach().contiguous().clone() for k, v in tensors.items()}, gap


def write(out, name):
    cls, differs = MODELS[name]
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(v4_config(cls, differs), file, indent=1)
    seed = 0
    while True:
        model = build(folder, seed)
        tensors, gap = goldens(model, seed)
        if gap > MIN_GAP and len(set(tensors["greedy_ids"].tolist())) > 4:
            break
        seed += 1
    about = f"seed {seed}, smallest greedy gap {gap:.4f}, transformers {transformers.__version__}, torch {torch.__version__}"
    save_file(tensors, f"{folder}/golden.safetensors", metadata={"about": about})  # one entry: several have no fixed order
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if not (k == "lm_head.weight" and model.config.tie_word_embeddings)}
    save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
    model.config.dtype = "float32"
    model.config.to_json_file(f"{folder}/config.v5.json")  # as save_pretrained does
    verify(folder, tensors)
    size = sum(os.path.getsize(f"{folder}/{f}") for f in os.listdir(folder))
    print(f"{name:18s} seed {seed} parameters {sum(w.numel() for w in weights.values())} loss {tensors['loss'].item():.4f} gap {gap:.3f} "
          f"greedy {tensors['greedy_ids'][:6].tolist()} {size // 1024} KiB")


def verify(folder, tensors):
    """The written files, under either config, give the golden logits."""
    for name in ("config.json", "config.v5.json"):
        config = transformers.AutoConfig.from_pretrained(f"{folder}/{name}")
        model, info = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        assert not any(info.values()), info
        with torch.no_grad():
            assert torch.equal(model(input_ids=tensors["input_ids"], use_cache=False).logits, tensors["logits"]), (folder, name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for each in options.only:
        write(options.out, each)
