"""Programs: ours, the peers' environment, and running a command while watching its memory."""
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
PEERS = CACHE / "llm-peers"
PEERS_PYTHON = PEERS / "bin" / "python"
REQUIREMENTS = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "bitsandbytes==0.50.2"]
# Kernels that OpenBLAS was told to use are not those that it would choose.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


class Failed(Exception):
    """A benchmark that cannot go on; the text says what to do."""


def main(benchmark):
    """Runs a script's main function; an expected failure ends it with its text alone."""
    if (load := os.getloadavg()[0]) > 0.5 and "--help" not in sys.argv:
        print(f"warning: other programs are running (load {load:.1f}); times will mean little", file=sys.stderr)
    try:
        benchmark()
    except Failed as why:
        sys.exit(f"error: {why}")


def build(features=(), target=ROOT / "target"):
    """The command that builds our program, and where it puts it."""
    command = ["cargo", "build", "--release", "-p", "examples", "--example", "finetune_alpaca"]
    command += ["--manifest-path", ROOT / "Cargo.toml"]
    return [*command, "--target-dir", target, *features], target / "release" / "examples" / "finetune_alpaca"


def our_program(given):
    """A compiled finetune_alpaca: the given one, or one built now."""
    if given:
        if not os.access(given, os.X_OK):
            raise Failed(f"{given} is no program; build it with `cargo build --release --example finetune_alpaca`, or leave --bin out")
        return Path(given).resolve()
    command, program = build()
    call(command)
    return program


def set_up_peers():
    """The peers' virtual environment, made if there is none."""
    if not any(PEERS.glob("lib/python*/site-packages/bitsandbytes")):  # the last one installed
        call([sys.executable, "-m", "venv", PEERS])
        call([PEERS_PYTHON, "-m", "pip", "install", *REQUIREMENTS])


def call(command):
    """Runs a command whose output goes to the terminal."""
    print("$", *command, file=sys.stderr)
    if code := subprocess.run(command, cwd=ROOT).returncode:
        raise Failed(f"`{' '.join(map(str, command))}` ended with {code}; its output is above")


@dataclass
class Measured:
    """A finished command."""

    stdout: str
    cpu_seconds: float
    peak_rss_mb: float
    peak_gpu_mb: float | None


def measure(command, gpu=False):
    """Runs a command, watching its memory."""
    environment = {key: value for key, value in os.environ.items() if key not in UNSET}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        watch = GpuMemory() if gpu else None
        process = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=environment, cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        peak_gpu = watch.stop() if watch else None
        out.seek(0)
        err.seek(0)
        stdout = out.read()
        if process.returncode:
            how = "was killed (out of memory?)" if process.returncode == -9 else f"ended with {process.returncode}"
            said = (err.read() or stdout).strip()[-2000:]
            raise Failed(f"`{' '.join(map(str, command))}` {how}\n{said}")
    return Measured(stdout, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, peak_gpu)


class GpuMemory(threading.Thread):
    """The most memory that is used on the first GPU beyond what was used at the start; nothing else may run there."""

    def __init__(self):
        super().__init__(daemon=True)
        self.first = self.peak = self.used()
        self.done = threading.Event()
        self.start()

    @staticmethod
    def used():
        command = ["nvidia-smi", "--id=0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def run(self):
        while not self.done.wait(0.1):
            self.peak = max(self.peak, self.used())

    def stop(self):
        self.done.set()
        self.join()
        return self.peak - self.first
