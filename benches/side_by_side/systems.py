"""The two systems, and equal work for them."""
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from programs import CACHE, HERE, PEERS_PYTHON, ROOT, Failed, measure

MODELS = CACHE / "llm-models"
DATA = ROOT.parent / "shared" / "data" / "alpaca" / "alpaca_en_1k.json"
THREADS = len(os.sched_getaffinity(0))
TARGETS = {"qv": "q_proj,v_proj", "all": "all-linear"}


@dataclass(frozen=True)
class Work:
    """What both systems are given to do: LoRA steps without dropout at a constant rate, over the first records in order."""

    model: Path
    data: Path
    records: int = 64
    micro_batch: int = 4
    max_len: int = 640
    targets: str = "qv"
    precision: str = "f32"
    quantize: bool = False
    checkpointing: bool = False
    r: int = 8
    alpha: int = 16
    learning_rate: float = 2e-4
    threads: int = THREADS
    device: str = "cpu"

    def ours(self, program, output, extra=()):
        """The command of our program."""
        command = ["env", f"RAYON_NUM_THREADS={self.threads}", program, "--model", self.model, "--data", self.data, "--output", output]
        command += ["--template", "alpaca", "--no-shuffle", "--validation-share", 0, "--show", 0, "--max-seq-len", self.max_len]
        command += ["--target-modules", TARGETS[self.targets], "--r", self.r, "--alpha", self.alpha, "--dropout", 0]
        command += ["--learning-rate", self.learning_rate, "--schedule", "constant", "--warmup-ratio", 0]
        command += ["--micro-batch-size", self.micro_batch, "--max-steps", self.records // self.micro_batch]
        command += ["--precision", self.precision, "--device", self.device]
        command += ["--qlora"] if self.quantize else []
        command += ["--gradient-checkpointing"] if self.checkpointing else []
        return [*command, *extra]

    def theirs(self, source=None):
        """The peer's command; `source` stands in for model and data."""
        command = [PEERS_PYTHON, HERE / "peer.py", *(source or ["--model", self.model, "--data", self.data, "--max-len", self.max_len])]
        command += ["--records", self.records, "--micro-batch", self.micro_batch, "--targets", self.targets]
        command += ["--r", self.r, "--alpha", self.alpha, "--lr", self.learning_rate, "--dtype", self.precision]
        command += ["--device", self.device, "--threads", self.threads]
        command += ["--quantize", "nf4"] if self.quantize else []
        return command + (["--checkpointing"] if self.checkpointing else [])

    def check(self):
        """Finds out what is missing before anything is run."""
        if not (self.model / "config.json").exists():
            raise Failed(f"no model in {self.model}; README.md says where to get it, or name another directory")
        if not self.data.exists():
            raise Failed(f"no records in {self.data}; give --data FILE, a JSON array of Alpaca records")
        if self.records < self.micro_batch or self.records % self.micro_batch:
            raise Failed(f"--records {self.records}: give a multiple of {self.micro_batch}, the records of a step")


def run_ours(work, program, extra=()):
    """One run of our program: its steps and its memory."""
    gpu = work.device == "cuda"
    with tempfile.TemporaryDirectory(prefix="side-by-side-") as output:
        done = measure(work.ours(program, output, extra), gpu)
        with open(os.path.join(output, "metrics.jsonl")) as file:
            steps = [row for row in map(json.loads, file) if "loss" in row]
    return {"steps": steps, **usage(done)}


def run_theirs(work, source=None):
    """One run of the peer."""
    done = measure(work.theirs(source), work.device == "cuda")
    return json.loads(done.stdout) | usage(done)


def usage(done):
    """What a finished command took; its processor time tells, beside its wall time, how busy the machine was."""
    return {"cpu_seconds": done.cpu_seconds, "peak_rss_mb": done.peak_rss_mb, "peak_gpu_mb": done.peak_gpu_mb}


def matrix_rate(threads, device="cpu"):
    """Operations per second of the best matrix product, by precision: bf16 factors can also be multiplied as f32."""
    done = measure([PEERS_PYTHON, HERE / "matrix_rate.py", "--threads", threads, "--device", device])
    rates = {name: best["gflops"] * 1e9 for name, best in json.loads(done.stdout).items()}
    return rates | {"bf16": max(rates.values())}
