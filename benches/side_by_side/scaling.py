"""How time and memory of our step grow with the sequence: one sample a step, with and without gradient checkpointing.

    python benches/side_by_side/scaling.py [--svg docs/scaling.svg]

The sample is a text that is repeated and cut at the wanted length. The first step of a run warms up and is not timed.
"""
import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from plot import Panel, write_svg
from programs import Failed, main, our_program
from report import markdown, save
from systems import MODELS, TARGETS, THREADS, Work, run_ours

TOKENS = (128, 256, 512, 1024, 2048, 4096)
MODES = {"plain": False, "gradient checkpointing": True}
HEAD = ["tokens", "mode", "tokens/s", "ms a token", "peak memory, MB"]
TEXT = "The miller went down to the river before dawn, counted the boats that the storm had left, and began to mend the first of them. "


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS, metavar="N", help="lengths of the sample")
    parser.add_argument("--steps", type=int, default=4, help="steps of a run, the first of them to warm up")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--targets", choices=TARGETS, default="qv")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--model", type=Path, metavar="DIR", help="[default: SmolLM2-135M-Instruct in the precision]")
    parser.add_argument("--bin", metavar="FILE", help="a compiled finetune_alpaca, instead of building one")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the two curves here, such as docs/scaling.svg")
    parser.add_argument("--json", metavar="FILE", help="where the raw results go [default: results/scaling-TIME.json]")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps: at least 2, for the first is not timed")
    return options


def write_records(path, tokens, count):
    """Records of at least so many tokens; every word is one or more."""
    answer = TEXT * (tokens // len(TEXT.split()) + 1)
    path.write_text(json.dumps([{"instruction": "Tell a story.", "input": "", "output": answer}] * count))


def point(work, program):
    """Time and memory of a run."""
    run = run_ours(work, program)
    for step in run["steps"]:
        if step["tokens"] != work.max_len:
            raise Failed(f"a step has {step['tokens']} tokens instead of {work.max_len}; does {work.model} allow such long samples?")
    seconds = median(step["seconds"] for step in run["steps"][1:])
    return {"tokens": work.max_len, "tokens_per_s": work.max_len / seconds, "ms_per_token": 1e3 * seconds / work.max_len,
            "peak_rss_mb": run["peak_rss_mb"], "steps": run["steps"]}


def curves(options, program, folder):
    """The points of every mode. A length that does not fit into memory is told and left out."""
    found, data = {mode: [] for mode in MODES}, folder / "records.json"
    for tokens in sorted(options.tokens):
        write_records(data, tokens, options.steps)
        for mode, checkpointing in MODES.items():
            print(f"{tokens} tokens, {mode}", flush=True)
            work = Work(
                model=(options.model or MODELS / f"SmolLM2-135M-Instruct-{options.precision}").absolute(),
                data=data, records=options.steps, micro_batch=1, max_len=tokens, targets=options.targets,
                precision=options.precision, checkpointing=checkpointing, threads=options.threads,
            )
            work.check()
            try:
                found[mode].append(point(work, program))
            except Failed as why:
                if "was killed" not in str(why):
                    raise
                print(f"left out: {why}")
    return found


def benchmark():
    options = arguments()
    program = our_program(options.bin)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        found = curves(options, program, Path(folder))
    points = sorted(((p["tokens"], mode, p) for mode, of_mode in found.items() for p in of_mode), key=lambda entry: entry[0])
    table = markdown(HEAD, [
        [str(tokens), mode, f"{p['tokens_per_s']:.1f}", f"{p['ms_per_token']:.2f}", f"{p['peak_rss_mb']:.0f}"] for tokens, mode, p in points
    ])
    save("scaling", {"options": vars(options), "curves": found}, table, options.json)
    if options.svg:
        def series(key, scale=1.0):
            return {mode: [(p["tokens"], p[key] * scale) for p in of_mode] for mode, of_mode in found.items()}

        panels = [Panel("Time per token, ms", series("ms_per_token")), Panel("Peak memory, GB", series("peak_rss_mb", 1 / 1024))]
        write_svg(options.svg, "tokens of the sequence", panels)
        print(f"wrote {options.svg}")


if __name__ == "__main__":
    main(benchmark)
