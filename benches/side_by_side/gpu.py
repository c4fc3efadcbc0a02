"""Everything that one NVIDIA GPU can tell, in one command.

    python benches/side_by_side/gpu.py [--dry-run | --rehearse]

1. Builds our program for the CPU and, in target/cuda, with `--no-default-features --features cuda`.
2. Trains the repository's tiny model with both; losses and gradient norms must be equal.
3. Trains random weights of LLaMA-7B's shape in bf16, with LoRA and with QLoRA, ours and transformers + PEFT in turn, and shows
   tokens/s, the share of the bf16 matrix rate and peak memory. The weights (13.5 GB) are written once, to ~/.cache/llm-models.

--dry-run shows the commands. --rehearse runs all of it on the CPU with a tiny shape, to see that the commands work; its numbers
mean nothing.
"""
import argparse
import math
import shlex
import subprocess
from dataclasses import replace

import work as counting
from programs import HERE, PEERS_PYTHON, ROOT, Failed, build, call, main, set_up_peers
from report import markdown, require_equal_work, save, summary
from scaling import write_records
from shapes import model_config
from systems import MODELS, TARGETS, Work, matrix_rate, run_ours, run_theirs

TINY = ROOT / "examples" / "models" / "tiny"
RECORDS = ROOT / "examples" / "data" / "alpaca_tiny.json"
WARM_UP = 3  # first steps, in which kernels are compiled and tuned
HEAD = ["adapter", "system", "tokens/s", "share of matrix rate", "peak GPU memory, MB", "peak host memory, MB"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show the commands, run nothing")
    how.add_argument("--rehearse", action="store_true", help="the same on the CPU with a tiny shape")
    parser.add_argument("--steps", type=int, default=8, help=f"steps of a run, the first {WARM_UP} of them to warm up")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system, in turn")
    parser.add_argument("--seq", type=int, default=512, help="tokens of a sample")
    parser.add_argument("--micro-batch", type=int, default=4, help="samples of a step")
    parser.add_argument("--targets", choices=TARGETS, default="all")
    parser.add_argument("--no-checkpointing", action="store_true", help="no gradient checkpointing, in both (80 GB of memory)")
    parser.add_argument("--tolerance", type=float, default=5e-3, help="relative difference of CUDA and CPU that passes")
    parser.add_argument("--bin", metavar="FILE", help="with --rehearse: a compiled finetune_alpaca, instead of building one")
    parser.add_argument("--json", metavar="FILE", help="where the raw results go [default: results/gpu-TIME.json]")
    options = parser.parse_args()
    if options.steps <= WARM_UP:
        parser.error(f"--steps: more than {WARM_UP}, for so many are not timed")
    if options.bin and not options.rehearse:
        parser.error("--bin goes with --rehearse: two programs are needed, so they are built")
    return options


class Plan:
    """What is run, for a set of options."""

    def __init__(self, options):
        self.device, self.shape = ("cpu", "nano") if options.rehearse else ("cuda", "7b")
        self.builds, self.programs = {}, {"cpu": options.bin, "cuda": options.bin}
        if not options.bin:
            self.builds["cpu"], self.programs["cpu"] = build()
            self.builds["cuda"], self.programs["cuda"] = self.builds["cpu"], self.programs["cpu"]
        if not options.rehearse:
            features = ["--no-default-features", "--features", "cuda"]
            self.builds["cuda"], self.programs["cuda"] = build(features, ROOT / "target" / "cuda")
        self.tiny = Work(model=TINY, data=RECORDS, records=32, max_len=256, targets="all")
        self.model = MODELS / f"random-{self.shape}"
        command = [PEERS_PYTHON, HERE / "random_model.py", "--shape", self.shape, "--tokenizer", TINY, "--output", self.model]
        self.write_model = [] if (self.model / "config.json").exists() else command
        self.data = MODELS / f"random-{options.seq}-tokens.json"
        lora = Work(
            model=self.model, data=self.data, records=options.steps * options.micro_batch, micro_batch=options.micro_batch,
            max_len=options.seq, targets=options.targets, precision="bf16", checkpointing=not options.no_checkpointing, device=self.device,
        )
        self.works = {"LoRA": lora, "QLoRA": replace(lora, quantize=True)}
        self.extra = ["--train-on-input"]  # as the peer supervises every random token
        self.source = ["--shape", self.shape, "--seq", options.seq]

    def show(self):
        """Prints the commands; OUT stands for a temporary directory."""
        commands = [*self.builds.values(), self.tiny.ours(self.programs["cpu"], "OUT")]
        commands += [replace(self.tiny, device=self.device).ours(self.programs["cuda"], "OUT"), self.write_model]
        commands += [[PEERS_PYTHON, HERE / "matrix_rate.py", "--device", self.device]]
        for work in self.works.values():
            commands += [work.ours(self.programs["cuda"], "OUT", self.extra), work.theirs(self.source)]
        for command in filter(None, commands):
            print(shlex.join(map(str, command)))


def require_cuda():
    """The GPU's name, or an error that says what is missing."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        listed = ""
    if not listed.startswith("GPU "):
        raise Failed(
            "no CUDA device: `nvidia-smi -L` lists none. This needs an NVIDIA GPU with its driver and the CUDA toolkit "
            "(in CUDA_PATH or /usr/local/cuda); elsewhere use --dry-run or --rehearse"
        )
    return listed


def compare_devices(plan, tolerance):
    """Our losses and gradient norms on the device against those on the CPU; the largest relative differences."""
    runs = {"cpu": run_ours(plan.tiny, plan.programs["cpu"])}
    runs["device"] = run_ours(replace(plan.tiny, device=plan.device), plan.programs["cuda"])
    require_equal_work("tiny model", runs["device"], runs["cpu"], math.inf)
    largest = {"loss": 0.0, "grad_norm": 0.0}
    for number, (got, expected) in enumerate(zip(runs["device"]["steps"], runs["cpu"]["steps"]), 1):
        for key in largest:
            difference = abs(got[key] - expected[key]) / abs(expected[key])
            largest[key] = max(largest[key], difference)
            if not difference <= tolerance:  # NaN is not
                raise Failed(
                    f"{key} of step {number} DIFFERS: {got[key]:.5f} on {plan.device}, {expected[key]:.5f} on the CPU. "
                    "The device computes something else, so its times mean nothing"
                )
    print(f"{plan.device} equals the CPU on the tiny model; largest relative differences {largest}", flush=True)
    return {"runs": runs, "largest": largest}


def compare_systems(plan, repeats):
    """Raw results of ours and theirs with LoRA and QLoRA. What fails, such as for want of memory, is told and left out."""
    results = {name: {"ours": [], "theirs": []} for name in plan.works}
    for repeat in range(repeats):
        for name, work in plan.works.items():
            print(f"{name}: run {repeat + 1} of {repeats}", flush=True)
            systems = {
                "ours": lambda: run_ours(work, plan.programs["cuda"], plan.extra),
                "theirs": lambda: run_theirs(work, plan.source),
            }
            for system, run in systems.items():
                try:
                    results[name][system].append(run())
                except Failed as why:
                    print(f"{name}, {system}: FAILED, left out: {why}", flush=True)
            if results[name]["ours"] and results[name]["theirs"]:  # of different random numbers: only the counts can be equal
                require_equal_work(name, results[name]["ours"][-1], results[name]["theirs"][-1], math.inf)
    return results


def rows(plan, results, rate):
    """The table's rows: ours, theirs, their ratio, with LoRA and QLoRA."""
    config = model_config(plan.shape)
    for name, runs in results.items():
        done = {system: summary(runs[system], WARM_UP) for system in runs if runs[system]}
        length = plan.works[name].max_len
        for system, title in (("ours", "ours"), ("theirs", "transformers + PEFT")):
            if not (numbers := done.get(system)):
                yield [name, title, "failed", *["–"] * 3]
                continue
            pairs = counting.causal_pairs([length] * (numbers["tokens"] // length))
            needed = counting.operations(config, numbers["tokens"], numbers["supervised_tokens"], pairs)
            share = f"{needed / numbers['seconds'] / rate:.0%}"
            yield [name, title, f"{numbers['tokens_per_s']:.0f}", share, megabytes(numbers["peak_gpu_mb"]), megabytes(numbers["peak_rss_mb"])]
        if len(done) == 2:
            ours, theirs = done["ours"], done["theirs"]
            faster = f"**{theirs['seconds'] / ours['seconds']:.2f}**"
            memory = f"**{ours['peak_gpu_mb'] / theirs['peak_gpu_mb']:.2f}**" if ours["peak_gpu_mb"] else megabytes(None)
            yield [name, "ours / theirs", faster, faster, memory, f"**{ours['peak_rss_mb'] / theirs['peak_rss_mb']:.2f}**"]


def megabytes(number):
    return "–" if number is None else f"{number:.0f}"


def benchmark():
    options = arguments()
    plan = Plan(options)
    if options.dry_run:
        return plan.show()
    gpu = None if options.rehearse else require_cuda()
    set_up_peers()
    for command in plan.builds.values():
        call(command)
    devices = compare_devices(plan, options.tolerance)
    if plan.write_model:
        call(plan.write_model)
    write_records(plan.data, options.seq, options.steps * options.micro_batch)
    results = compare_systems(plan, options.repeats)
    rates = matrix_rate(plan.works["LoRA"].threads, plan.device)
    table = markdown(HEAD, rows(plan, results, rates["bf16"]))
    table += f"\n\nShape {plan.shape} in bf16; matrix rate {rates['bf16'] / 1e12:.1f} TFLOP/s."
    save("gpu", {"gpu": gpu, "options": vars(options), "matrix_rate": rates, "devices": devices, "systems": results}, table, options.json)
    if not all(runs for systems in results.values() for runs in systems.values()):
        raise Failed("a system failed in every run; its message is above")


if __name__ == "__main__":
    main(benchmark)
