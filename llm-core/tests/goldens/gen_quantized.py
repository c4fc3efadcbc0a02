"""A tiny LLaMA that transformers quantised with bitsandbytes, and the logits of what its codes stand for.

Rows are multiples of 64 long: bitsandbytes 0.50.2 decodes others wrongly on the CPU. Its own forward there rounds to bf16
whatever the compute type is (logits up to 0.35 off), so the logits are those of a dense model with the decoded weights.
  llama_nf4/   NF4, doubly quantised, as `save_pretrained` writes it; golden.safetensors: input_ids, logits (f32)
Usage: gen_quantized.py OUT_DIR (torch 2.15.0, transformers 5.23.0, bitsandbytes 0.50.2)
"""
import sys
import tempfile

import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

out = f"{sys.argv[1]}/llama_nf4"
torch.manual_seed(5)
config = LlamaConfig(
    vocab_size=96, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, initializer_range=0.3, max_position_embeddings=128,
)
with tempfile.TemporaryDirectory() as directory:
    LlamaForCausalLM(config).save_pretrained(directory)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=torch.float32,
    )
    model = AutoModelForCausalLM.from_pretrained(
        directory, quantization_config=quantization, dtype=torch.float32, attn_implementation="eager", device_map="cpu"
    )
    dense = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
for name, module in model.named_modules():
    if hasattr(module, "weight") and hasattr(module.weight, "quant_state"):
        dense.get_submodule(name).weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state)
model.save_pretrained(out)
ids = torch.randint(0, 96, (2, 12), generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    logits = dense(ids).logits
save_file({"input_ids": ids, "logits": logits.float().contiguous()}, f"{out}/golden.safetensors")
