"""The main comparison: LoRA fine-tuning of SmolLM2-135M on Alpaca records, ours against transformers + PEFT.

    python benches/side_by_side/run.py

Runs the two in turn on the same work, in f32 and bf16, with adapters on q and v and on all linear layers. Stops with an error if
their losses differ. Shows a table of medians; table and raw results go to results/. Whatever follows `--` goes to our program, such
as `-- --packing none`.
"""
import argparse
from datetime import datetime
from pathlib import Path

import work as counting
from programs import main, our_program, set_up_peers
from report import RESULTS, markdown, require_equal_work, save, summary
from systems import DATA, MODELS, TARGETS, THREADS, Work, matrix_rate, run_ours, run_theirs

PRECISIONS = ("f32", "bf16")
HEAD = ["work", "system", "examples/s", "tokens/s", "supervised tokens/s", "peak memory, MB", "share of matrix rate", "first losses"]
NONE = "–"
# In bf16 the peer rounds its activations and logits too, and strays from its own f32; ours rounds only what is multiplied with weights.
TOLERANCES = {"f32": 0.02, "bf16": 0.04}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PRECISIONS, help="only this precision")
    parser.add_argument("--targets", choices=TARGETS, help="only adapters on q and v, or on all linear layers")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each system, in turn")
    parser.add_argument("--records", type=int, default=64, help="the first so many records, 4 a step")
    parser.add_argument("--checkpointing", action="store_true", help="gradient checkpointing, in both")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--model-f32", type=Path, default=MODELS / "SmolLM2-135M-Instruct-f32", metavar="DIR")
    parser.add_argument("--model-bf16", type=Path, default=MODELS / "SmolLM2-135M-Instruct-bf16", metavar="DIR")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FILE", help="Alpaca records, a JSON array")
    parser.add_argument("--bin", metavar="FILE", help="a compiled finetune_alpaca, instead of building one")
    parser.add_argument("--ours-only", action="store_true", help="leave the peers out (and the share, for torch measures the rate)")
    parser.add_argument("--json", metavar="FILE", help="where the raw results go [default: results/run-TIME.json]")
    parser.add_argument("extra", nargs="*", metavar="-- FLAG", help="flags for our program")
    return parser.parse_args()


def cases(options):
    """The work of every row of the table."""
    for precision in [options.only] if options.only else PRECISIONS:
        for targets in [options.targets] if options.targets else TARGETS:
            yield Work(
                model={"f32": options.model_f32, "bf16": options.model_bf16}[precision].absolute(),
                data=options.data.absolute(),
                records=options.records,
                targets=targets,
                precision=precision,
                checkpointing=options.checkpointing,
                threads=options.threads,
            )


def compare(work, program, options):
    """Runs a case; returns its raw results."""
    name = f"{work.precision}, {TARGETS[work.targets]}"
    result = {"name": name, "ours": [], "theirs": [], "largest_difference": 0.0}
    for repeat in range(options.repeats):
        print(f"{name}: run {repeat + 1} of {options.repeats}", flush=True)
        result["ours"].append(run_ours(work, program, options.extra))
        if not options.ours_only:
            result["theirs"].append(run_theirs(work))
            difference = require_equal_work(name, result["ours"][-1], result["theirs"][-1], TOLERANCES[work.precision])
            result["largest_difference"] = max(result["largest_difference"], difference)
    return result


def rows(work, result, rates):
    """A case's rows of the table: ours, theirs, their ratio."""
    ours = summary(result["ours"])
    if not result["theirs"]:
        return [row(result["name"], "ours", ours, work, NONE)]
    theirs, pairs = summary(result["theirs"]), result["theirs"][0]["causal_pairs"]

    def share(system):
        needed = counting.operations(counting.read_config(work.model), system["tokens"], system["supervised_tokens"], pairs)
        return f"{needed / system['seconds'] / rates[work.precision]:.0%}"

    faster, memory = (f"**{ratio:.2f}**" for ratio in (theirs["seconds"] / ours["seconds"], ours["peak_rss_mb"] / theirs["peak_rss_mb"]))
    return [
        row(result["name"], "ours", ours, work, share(ours)),
        row("", "transformers + PEFT", theirs, work, share(theirs)),
        ["", "ours / theirs", faster, faster, faster, memory, faster, f"largest difference {result['largest_difference']:.4f}"],
    ]


def row(name, system, numbers, work, share):
    rates = [work.records / numbers["seconds"], numbers["tokens_per_s"], numbers["supervised_tokens_per_s"]]
    losses = " ".join(f"{loss:.4f}" for loss in numbers["losses"][:4])
    return [name, system, f"{rates[0]:.2f}", f"{rates[1]:.1f}", f"{rates[2]:.1f}", f"{numbers['peak_rss_mb']:.0f}", share, losses]


def benchmark():
    options = arguments()
    works = list(cases(options))
    for work in works:
        work.check()
    program, rates = our_program(options.bin), {}
    if not options.ours_only:
        set_up_peers()
    path, results = options.json or RESULTS / f"run-{datetime.now():%Y%m%d-%H%M%S}.json", []
    for work in works:
        results.append(compare(work, program, options))
        if not options.ours_only:  # after every case: other load on the machine lowers some of the rates, the highest counts
            rates = {name: max(rate, rates.get(name, 0)) for name, rate in matrix_rate(options.threads).items()}
        # Every case is saved as soon as it is there: the next one may fail.
        table = markdown(HEAD, [line for work, result in zip(works, results) for line in rows(work, result, rates)])
        if rates:
            table += "\n\nMatrix rate: " + ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items()) + "."
        save("run", {"options": vars(options), "matrix_rate": rates, "cases": results}, table, path)


if __name__ == "__main__":
    main(benchmark)
