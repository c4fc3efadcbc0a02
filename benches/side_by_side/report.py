"""Results: medians, the check that the work was equal, tables, files."""
import datetime
import json
import platform
import subprocess
from pathlib import Path
from statistics import median

from programs import HERE, REQUIREMENTS, ROOT, Failed
from systems import THREADS

RESULTS = HERE / "results"
TOLERANCE = 0.02  # of losses: the adapters start from different random numbers


def summary(runs, warm_up=0):
    """Medians over runs of the same work; so many first steps of each are left out of the times."""
    counted = [run["steps"][warm_up:] for run in runs]
    seconds = median(sum(step["seconds"] for step in steps) for steps in counted)
    tokens, supervised = (sum(step[key] for step in counted[0]) for key in ("tokens", "supervised_tokens"))
    gpu = [run["peak_gpu_mb"] for run in runs if run["peak_gpu_mb"] is not None]
    return {
        "seconds": seconds,
        "tokens": tokens,
        "supervised_tokens": supervised,
        "tokens_per_s": tokens / seconds,
        "supervised_tokens_per_s": supervised / seconds,
        "losses": [step["loss"] for step in runs[0]["steps"]],
        "peak_rss_mb": median(run["peak_rss_mb"] for run in runs),
        "peak_gpu_mb": median(gpu) if gpu else None,
    }


def require_equal_work(name, ours, theirs, tolerance=TOLERANCE):
    """The largest difference of two runs' losses. Times of unequal work mean nothing: a difference ends the benchmark."""
    if len(ours["steps"]) != len(theirs["steps"]):
        raise Failed(f"{name}: {len(ours['steps'])} steps against {len(theirs['steps'])}; the work is NOT EQUAL")
    differences = []
    for number, (a, b) in enumerate(zip(ours["steps"], theirs["steps"]), 1):
        for key in ("tokens", "supervised_tokens"):
            if a[key] != b[key]:
                raise Failed(f"{name}: step {number} has {a[key]} {key} against {b[key]}; the work is NOT EQUAL")
        differences.append(abs(a["loss"] - b["loss"]))
        if not differences[-1] <= tolerance:  # NaN is not
            raise Failed(
                f"{name}: the LOSSES DIFFER at step {number}: {a['loss']:.4f} against {b['loss']:.4f}, more than {tolerance}. "
                "The work is not equal, so its times mean nothing; find the fault first (scripts/compare_peft.py narrows it down)"
            )
    return max(differences)


def machine():
    """Where and when something was measured."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now().isoformat(timespec="minutes"),
        "processor": names[0] if names else platform.processor(),
        "threads": THREADS,
        "commit": commit,
        "peers": REQUIREMENTS,
    }


def save(kind, raw, table, path=None):
    """Writes raw results and their table, and shows the table."""
    path = Path(path) if path else RESULTS / f"{kind}-{datetime.datetime.now():%Y%m%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine(), **raw}, indent=1, default=str) + "\n")
    path.with_suffix(".md").write_text(table + "\n")
    print(f"\n{table}\n\nwrote {path} and {path.with_suffix('.md').name}")


def markdown(head, rows):
    """A table; numbers are to be text already."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
