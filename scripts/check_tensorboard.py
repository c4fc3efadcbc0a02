"""Shows that TensorBoard reads from a run's event files what the run's metrics.jsonl says: every tag, step and value, and nothing else.

    python scripts/check_tensorboard.py RUN_DIR... [--events DIR]

Needs `pip install tensorboard`, and no network. Both of TensorBoard's readers are asked: the one in Python, and the data server, which is the
default where it is installed. They differ about a resumed run. The one in Python drops the earlier files' records of the steps that are done
again when it comes to the later file; the data server drops them tag by tag, when a tag's next value comes. What the latter still shows of
steps after the tag's last row is counted as `stale`, and no error.

--events is where the event files are, if not in RUN_DIR. Ends with 1 if anything differs.
"""
import argparse, json, logging, math, os, struct, sys, time
from tensorboard import context
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

STEP = {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/grad_norm": "grad_norm", "train/epoch": "epoch"}


def single(value):
    """As f32, the precision of the format; JSON's null stands for what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return struct.unpack("<f", struct.pack("<f", value))[0]


def expected(path):
    """{tag: {step: value}} of a metrics.jsonl."""
    tags = {}
    with open(path) as rows:
        for row in map(json.loads, rows):
            if "skipped" in row:
                continue
            if "eval_loss" in row:
                values = {"eval/loss": row["eval_loss"]}
            else:
                values = {tag: row[key] for tag, key in STEP.items()}
                values["train/tokens_per_second"] = row["tokens"] / row["seconds"]
            for tag, value in values.items():
                tags.setdefault(tag, {})[row["step"]] = single(value)
    return tags


def by_python(events):
    accumulator = EventAccumulator(events, size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]}


def by_data_server(events, enough):
    """Asks until `enough` is content, or for ten seconds: the server answers before it has read everything."""
    server = server_ingester.SubprocessServerDataIngester(
        server_ingester.get_server_binary(), events, reload_interval=0, channel_creds_type=grpc_util.ChannelCredsType.LOCAL, samples_per_plugin={"scalars": 0})
    server.start()
    for _ in range(100):
        read = server.data_provider.read_scalars(context.RequestContext(), experiment_id="", plugin_name="scalars", downsample=10**9)
        if len(read) > 1:
            sys.exit(f"{events}: more than one run: {', '.join(read)}")
        tags = {tag: [(d.step, d.value) for d in data] for run in read.values() for tag, data in run.items()}
        if enough(tags):
            break
        time.sleep(0.1)
    return tags


def without_stale(rows, read):
    """What was read of each tag up to the tag's last row, and how many values that leaves out."""
    kept = {tag: [(s, v) for s, v in values if s <= max(rows.get(tag, {}), default=-1)] for tag, values in read.items()}
    return kept, sum(map(len, read.values())) - sum(map(len, kept.values()))


def differences(rows, read):
    lines = []
    for tag in sorted(rows.keys() | read.keys()):
        want, got = rows.get(tag, {}), read.get(tag, [])
        have = {step: single(value) for step, value in got}
        if len(have) != len(got):
            lines.append(f"{tag}: a step has two values")
        lines += [f"{tag}, step {s}: {have.get(s, 'absent')}, expected {want.get(s, 'none')}" for s in sorted(want.keys() | have.keys())
                  if s not in want or s not in have or want[s] != have[s]]
    return lines


def report(name, rows, lines, stale=0):
    print(f"{name:<40} {sum(map(len, rows.values())):>8} values  {'DIFFERENT' if lines else 'equal'}{f', {stale} stale' if stale else ''}")
    for line in lines[:10]:
        print(f"    {line}")
    return bool(lines) or not rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN_DIR")
    parser.add_argument("--events", metavar="DIR")
    options = parser.parse_args()
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of every purge
    bad = False
    for run in options.runs:
        rows, events = expected(os.path.join(run, "metrics.jsonl")), options.events or run
        name = os.path.basename(os.path.abspath(run))
        bad |= report(f"{name}, Python", rows, differences(rows, by_python(events)))
        try:
            read, stale = without_stale(rows, by_data_server(events, lambda tags: not differences(rows, without_stale(rows, tags)[0])))
            bad |= report(f"{name}, data server", rows, differences(rows, read), stale)
        except server_ingester.NoDataServerError:
            print(f"{name}, data server: not installed")
    sys.exit(bad)


if __name__ == "__main__":
    main()
