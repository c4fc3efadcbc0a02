"""Ours with LoRA against ours with QLoRA (frozen weights in 4 bits): speed, memory, losses.

    python benches/side_by_side/qlora.py [--with-peer]

With --with-peer, QLoRA of transformers + PEFT + bitsandbytes runs too, and its losses must equal ours.
"""
import argparse
from dataclasses import replace
from pathlib import Path

from programs import main, our_program, set_up_peers
from report import TOLERANCE, markdown, require_equal_work, save, summary
from systems import DATA, MODELS, TARGETS, THREADS, Work, run_ours, run_theirs

HEAD = ["system", "examples/s", "tokens/s", "peak memory, MB", "first loss", "last losses"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--targets", choices=TARGETS, default="all")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--records", type=int, default=64, help="the first so many records, 4 a step")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--model", type=Path, metavar="DIR", help="[default: SmolLM2-135M-Instruct in the precision]")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE", help="Alpaca records, a JSON array")
    parser.add_argument("--bin", metavar="FILE", help="a compiled finetune_alpaca, instead of building one")
    parser.add_argument("--with-peer", action="store_true", help="run the peer's QLoRA too")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="by how much the peer's losses may differ")
    parser.add_argument("--json", metavar="FILE", help="where the raw results go [default: results/qlora-TIME.json]")
    return parser.parse_args()


def row(name, runs, work):
    numbers = summary(runs)
    losses = numbers["losses"]
    rates = (work.records / numbers["seconds"], numbers["tokens_per_s"])
    return [
        name, f"{rates[0]:.2f}", f"{rates[1]:.1f}", f"{numbers['peak_rss_mb']:.0f}",
        f"{losses[0]:.4f}", " ".join(f"{loss:.4f}" for loss in losses[-4:]),
    ]


def benchmark():
    options = arguments()
    lora = Work(
        model=(options.model or MODELS / f"SmolLM2-135M-Instruct-{options.precision}").absolute(),
        data=options.data.absolute(),
        records=options.records,
        targets=options.targets,
        precision=options.precision,
        checkpointing=options.checkpointing,
        threads=options.threads,
    )
    lora.check()
    qlora = replace(lora, quantize=True)
    program = our_program(options.bin)
    runs = {"ours, LoRA": [], "ours, QLoRA": []}
    if options.with_peer:
        set_up_peers()
        runs["transformers + PEFT, QLoRA"] = []
    for repeat in range(options.repeats):
        print(f"run {repeat + 1} of {options.repeats}", flush=True)
        runs["ours, LoRA"].append(run_ours(lora, program))
        runs["ours, QLoRA"].append(run_ours(qlora, program))
        if options.with_peer:
            theirs = run_theirs(qlora)
            require_equal_work("QLoRA", runs["ours, QLoRA"][-1], theirs, options.tolerance)
            runs["transformers + PEFT, QLoRA"].append(theirs)
    table = markdown(HEAD, [row(name, done, lora) for name, done in runs.items()])
    save("qlora", {"options": vars(options), "runs": runs}, table, options.json)


if __name__ == "__main__":
    main(benchmark)
