"""The matrix rate that torch reaches on this machine, in f32 and bf16: the best of several sizes. Prints one JSON line.

    python matrix_rate.py [--threads N] [--device cuda]
"""
import argparse
import json
import os
import sys
import time

import torch

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
SIZES = {  # rows, inputs, outputs of a linear layer
    "cpu": [(512, 2048, 2048), (1024, 2048, 2048), (2048, 2048, 2048), (1024, 576, 1536)],
    "cuda": [(4096, 4096, 4096), (8192, 8192, 8192), (2048, 4096, 11008)],
}
ROUNDS, SECONDS = 5, 0.2  # of a size: the best round counts, a round lasts about so long


def rate(size, dtype, device):
    """Operations per second in the best round."""
    rows, inputs, outputs = size
    x = torch.randn(rows, inputs, device=device, dtype=dtype)
    w = torch.randn(outputs, inputs, device=device, dtype=dtype)

    def seconds(times):
        start = time.perf_counter()
        for _ in range(times):
            torch.nn.functional.linear(x, w)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds(1)  # chooses kernels, fills caches
    times = max(1, round(SECONDS / seconds(1)))
    return 2 * rows * inputs * outputs * times / min(seconds(times) for _ in range(ROUNDS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", choices=SIZES, default="cpu")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device: torch sees none; check `nvidia-smi`, or leave --device cuda out")
    torch.set_num_threads(options.threads)
    result = {}
    for name, dtype in DTYPES.items():
        best, size = max((rate(size, dtype, options.device), size) for size in SIZES[options.device])
        result[name] = {"gflops": round(best / 1e9, 1), "size": size}
    print(json.dumps(result))


if __name__ == "__main__":
    with torch.no_grad():
        main()
