"""What compare_transformers.py and compare_peft.py share: our command-line examples, random models, the table of results."""
import json, os, subprocess, sys, tempfile
os.environ["HF_HUB_OFFLINE"] = "1"  # read when the libraries are imported
import torch, transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN_DIR = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "examples")

# A llama in transformers-4 keys; every case changes a few of them.
TINY = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "vocab_size": 160, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None,
        "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}


def quiet():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


class Failed(Exception):
    """A command of ours ended with an error."""


class Examples:
    """The compiled examples of one directory."""

    def __init__(self, directory):
        self.directory = os.path.abspath(directory)

    def require(self, *names):
        absent = [n for n in names if not os.access(self._path(n), os.X_OK)]
        if absent:
            sys.exit(f"{', '.join(absent)}: not in {self.directory}; build them with `cargo build --release --examples`, or give --bin-dir")

    def _path(self, name):
        return os.path.join(self.directory, name)

    def run(self, name, *arguments):
        done = subprocess.run([self._path(name), *map(str, arguments)], capture_output=True, text=True, timeout=1800)
        if done.returncode:
            raise Failed(f"{name} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def logits(self, model, ids, adapter=None):
        """Logits [seq, vocab] of one sequence of ids, from our `logits` example."""
        more = ["--adapter", adapter] if adapter else []
        with tempfile.TemporaryDirectory(prefix="logits-") as folder:
            out = os.path.join(folder, "logits.safetensors")
            self.run("logits", "--model", model, *more, "--input-ids", ",".join(map(str, ids)), "--out", out)
            return load_file(out)["logits"]


class Report:
    """Rows of name, largest difference, tolerance; printed as they come."""

    def __init__(self, width=34):
        self.width, self.bad, self.cases = width, [], 0
        print(f"{'case':{width}} {'max |difference|':>17} {'tolerance':>10}  result")

    def compare(self, name, got, expected, tolerance, note=""):
        self.cases += 1
        if got.shape != expected.shape:
            return self.fail(name, f"shape {list(got.shape)}, expected {list(expected.shape)}")
        difference = (got.float() - expected.float()).abs().max().item()
        good = difference <= tolerance  # NaN is not
        if not good:
            self.bad.append(name)
        print(f"{name:{self.width}} {difference:17.2e} {tolerance:10.0e}  {'ok' if good else 'DIFFERS'} {note}", flush=True)

    def fail(self, name, why):
        self.bad.append(name)
        print(f"{name:{self.width}} {'':17} {'':10}  FAILED: {why}", flush=True)

    def finish(self):
        if not self.cases and not self.bad:
            print("no case was compared")
            return 1
        print(f"{len(self.bad)} of the cases failed: {', '.join(self.bad)}" if self.bad else "all equal")
        return 1 if self.bad else 0


def random_model(folder, config, seed=0, dtype=torch.float32, shards=1):
    """Writes config.json as given and a model for it, with weights large enough that each of them shows in the logits."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/config.json", "w") as file:
        json.dump(config, file, indent=1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), attn_implementation="eager").float()
    rng, tied = torch.Generator().manual_seed(seed), model.config.tie_word_embeddings
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(1 + 0.2 * torch.randn(p.shape, generator=rng))
            elif p.dim() == 1:
                p.copy_(0.3 * torch.randn(p.shape, generator=rng))
            elif "embed_tokens" in name:
                p.copy_((0.3 if tied else 1.0) * torch.randn(p.shape, generator=rng))
            else:
                p.copy_(1.4 / p.shape[1] ** 0.5 * torch.randn(p.shape, generator=rng))
    weights = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}
    if shards == 1:
        save_file(weights, f"{folder}/model.safetensors", metadata={"format": "pt"})
        return
    names, index = list(weights), {}
    for i in range(shards):
        file, part = f"model-{i + 1:05}-of-{shards:05}.safetensors", names[i::shards]
        save_file({n: weights[n] for n in part}, f"{folder}/{file}", metadata={"format": "pt"})
        index |= {n: file for n in part}
    with open(f"{folder}/model.safetensors.index.json", "w") as file:
        json.dump({"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": index}, file)


def load(folder, dtype=torch.float32):
    """The model as transformers reads it; nothing may be missing or left over."""
    model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    if any(info.values()):
        raise Failed(f"transformers reads {folder} with {info}")
    return model.eval()


def logits(model, ids):
    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
