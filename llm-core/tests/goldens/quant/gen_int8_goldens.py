"""Goldens from bitsandbytes 0.50.2 (CPU, one thread): int8 layers, double quantisation, FP4.

The weights are not stored: `weights(n)` makes the same f32 here and in ../../quant.rs.
  int8.*      state dict of Linear8bitLt [8, 40] (row 2 is zero, row 3 large), and `int8_deq` f32
  big.*       state dict of Linear4bit NF4, [127, 131], doubly quantised: more than 256 blocks and a short last one
  fp4.*       the same for FP4, [33, 65], with weights 1e-4 as large: the offset has an exponent in JSON
  plain.*     FP4 [16, 24], bf16, not doubly quantised
  NAME_scales decoded scales of `big` and `fp4`, f32
Usage: gen_int8_goldens.py OUT.safetensors; prints the means for src/quant/mean.rs
"""
import sys
import bitsandbytes as bnb
import numpy as np
import torch
from bitsandbytes import functional as F
from safetensors.torch import save_file

torch.set_num_threads(1)


def weights(n):
    x, out = 1, np.empty(n, np.float32)
    for i in range(n):
        x = (x * 1664525 + 1013904223) & 0xFFFFFFFF
        out[i] = np.float32(x >> 8) / np.float32(1 << 24) - np.float32(0.5)
    return torch.from_numpy(out * out * out)


def layer(make, w):
    m = make(w.shape[1], w.shape[0])
    m.weight.data.copy_(w) if m.weight.dtype == w.dtype else setattr(m.weight, "data", w.clone())
    return m.to("cpu")


t = {}
w = weights(8 * 40).reshape(8, 40)
w[2], w[3] = 0, w[3] * 1000
m = layer(lambda i, o: bnb.nn.Linear8bitLt(i, o, bias=False, has_fp16_weights=False), w)
t |= {f"int8.{k}": v for k, v in m.state_dict().items()}
t["int8_deq"] = F.int8_vectorwise_dequant(t["int8.weight"], t["int8.SCB"])

w = weights(127 * 131).reshape(127, 131)
cases = [("big", "nf4", True, w), ("fp4", "fp4", True, w.flatten()[: 33 * 65].reshape(33, 65) * 1e-4),
         ("plain", "fp4", False, w.flatten()[: 16 * 24].reshape(16, 24).bfloat16())]
for name, kind, double, w in cases:
    m = layer(lambda i, o: bnb.nn.Linear4bit(i, o, bias=False, quant_type=kind, compress_statistics=double), w)
    t |= {f"{name}.{k}": v for k, v in m.state_dict().items()}
    if s := m.weight.quant_state.state2:
        t[f"{name}_scales"] = F.dequantize_blockwise(m.weight.quant_state.absmax, s) + m.weight.quant_state.offset
save_file({k: v.contiguous() for k, v in t.items()}, sys.argv[1])
for k, v in t.items():
    print(k, v.dtype, tuple(v.shape), bytes(v.tolist()) if "quant_state" in k else "")

w = weights(300001)
for n in (1, 7, 8, 15, 33, 127, 1000, 4096, 9999, 32768, 300001):
    print(f"({n}, {np.float32(w[:n].abs().mean()).view(np.uint32):#010x}),")
