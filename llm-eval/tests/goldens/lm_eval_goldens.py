"""Writes the data files of tests/data and what lm-eval 0.4.13 makes of them: lm_eval.json.

    pip install lm-eval==0.4.13 scikit-learn
    python lm_eval_goldens.py PATH/TO/shared/data/eval/
"""

import csv
import json
import os
import random
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp()

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks._yaml_loader import load_yaml
from tokenizers import Tokenizer
from toy import BOS, EOS, Toy, token_scores

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "data")
SHARED = sys.argv[1]
TASKS = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
SCRATCH = tempfile.mkdtemp()
rnd = random.Random(7)
WORDS = "river stone light field copper seven glass \"quoted\" a,comma north Ünïcode 12.5 x<y".split(" ")
HANZI = "水火山石田土木金天地人日月星光，《书》、上下左右"


def words(n):
    return " ".join(rnd.choice(WORDS) for _ in range(n))


def hanzi(n):
    return "".join(rnd.choice(HANZI) for _ in range(n))


def path(*parts):
    out = os.path.join(DATA, *parts)
    os.makedirs(os.path.dirname(out), exist_ok=True)
    return out


def rows_json(name, rows):
    out = os.path.join(SCRATCH, name)
    with open(out, "w") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return out


def mmlu():
    tasks = []
    for subject, sizes in {"anatomy": (5, 9), "us_foreign_policy": (6, 5), "moral_disputes": (5, 7)}.items():
        files = {}
        for split, size in zip(("dev", "test"), sizes):
            docs = []
            for i in range(size):
                question = words(6) + ("\nSecond line. " if i % 3 == 1 else "?")
                if i % 4 == 2:
                    question = "  " + question
                docs.append({"question": question, "choices": [words(1 + (i + c) % 3) for c in range(4)], "answer": rnd.randrange(4)})
            with open(path("mmlu", split, f"{subject}_{split}.csv"), "w", newline="") as file:
                for doc in docs:
                    csv.writer(file, lineterminator="\n").writerow([doc["question"], *doc["choices"], "ABCD"[doc["answer"]]])
            files[split] = rows_json(f"mmlu_{subject}_{split}", docs)
        tasks.append(local(f"{TASKS}/mmlu/default/mmlu_{subject}.yaml", files))
    return tasks


def ceval():
    tasks = []
    for subject, sizes in {"computer_network": (5, 6), "law": (5, 8)}.items():
        files = {}
        for split, size in zip(("dev", "val"), sizes):
            out = path("ceval", split, f"{subject}_{split}.csv")
            docs = [
                {"id": i, "question": hanzi(14) + "____。" + (" " if i == 1 else ""), **{c: hanzi(2 + i % 3) for c in "ABCD"}, "answer": rnd.choice("ABCD"), "explanation": "1. " + hanzi(5) + "\n2. " + hanzi(4) if split == "dev" else ""}
                for i in range(size)
            ]
            fields = list(docs[0]) if split == "dev" else list(docs[0])[:-1]
            with open(out, "w", newline="") as file:
                writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows(docs)
            files[split] = rows_json(f"ceval_{subject}_{split}", [{k: d[k] for k in fields} for d in docs])
        with open(path("ceval", "test", f"{subject}_test.csv"), "w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "question", *"ABCD"], lineterminator="\n")
            writer.writeheader()
            writer.writerows({"id": i, "question": hanzi(9), **{c: hanzi(2) for c in "ABCD"}} for i in range(3))
        tasks.append(local(f"{TASKS}/ceval/ceval-valid_{subject}.yaml", files))
    return tasks


def agieval():
    """The raw files, and the `query`, `choices`, `gold` that hails/agieval-* hold, made by AGIEval's
    convert_zero_shot (src/dataset_loader.py)."""
    tasks = []
    for name, yaml, options, multiple in [("aqua-rat", "aqua-rat", 5, False), ("sat-en", "sat-en", 4, False), ("gaokao-physics", "gaokao-physics", 4, True), ("jec-qa-kd", "jec-qa-kd", 4, True)]:
        chinese = name.startswith(("gaokao", "jec"))
        raw, docs = [], []
        for i in range(8):
            text = hanzi(12) if chinese else words(7)
            letters = "ABCDE"[:options]
            choices = [f"({c})" + (hanzi(3) if chinese else words(1 + i % 3)) for c in letters]
            label = sorted(rnd.sample(letters, 1 + i % 3)) if multiple else rnd.choice(letters)
            passage = words(9) + "\n" if name == "sat-en" else None
            raw.append({"passage": passage, "question": text, "options": choices, "label": label, "answer": None, "other": None})
            head = (passage or "") + ("问题：" if chinese else "Q: ") + text + (" 选项：" if chinese else " Answer Choices: ") + " ".join(choices) + "\n"
            tail = f"答案：从A到{letters[-1]}, 我们应选择" if chinese else f"A: Among A through {letters[-1]}, the answer is"
            docs.append({"query": head + tail, "choices": choices, "gold": [letters.index(c) for c in label]})
        with open(path("agieval", name + ".jsonl"), "w") as file:
            for row in raw:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        tasks.append(local(f"{TASKS}/agieval/{yaml}.yaml", {"test": rows_json(f"agieval_{name}", docs)}))
    raw, docs = [], []
    for i in range(9):
        answer = [r"\frac{1}{2}", "0.5", r"x=3", r"\sqrt2", "12", r"\boxed{7}", r"\frac34", "1/2", r"90^\circ"][i]
        raw.append({"passage": None, "question": words(5), "options": None, "label": None, "answer": answer, "other": None})
        docs.append({"query": "Q: " + raw[-1]["question"] + "\nA: The answer is", "answer": answer})
    with open(path("agieval", "math.jsonl"), "w") as file:
        for row in raw:
            file.write(json.dumps(row) + "\n")
    tasks.append(local(f"{TASKS}/agieval/math.yaml", {"test": rows_json("agieval_math", docs)}))
    return tasks


def gsm8k():
    read = lambda name, n: [json.loads(line) for line in open(os.path.join(SHARED, name))][:n]
    files = {"test": rows_json("gsm8k_test", read("gsm8k_test.jsonl", 20)), "train": rows_json("gsm8k_train", read("gsm8k_train_200.jsonl", 200))}
    return [local(f"{TASKS}/gsm8k/gsm8k.yaml", files)]


def rolling():
    docs = [{"text": words(40)}, {"text": "  two\n\nlines\u3000" + hanzi(30)}, {"text": words(3)}, {"text": words(200)}]
    json.dump([d["text"] for d in docs], open(path("texts.json"), "w"), ensure_ascii=False, indent=1)
    return [{"task": "rolling", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": rows_json("rolling", docs)}}, "test_split": "test", "output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}", "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")]}]


def local(yaml, files):
    config = load_yaml(yaml)
    return config | {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": files}}


def reply(context, doc):
    """What a model may say to GSM8K and MATH, right and wrong."""
    gold = doc["answer"].split("#### ")[-1]
    replies = [
        f" 3 + 4 = 7.\n#### {gold}",
        f" The answer is {gold}.",
        f" #### {gold}\n\nQuestion: another #### 99",
        f" 12 apples #### 1,2{gold} ",
        " I do not know.",
        f" So ${gold}.00 in total.\n#### {gold}.\n",
        f"#### -{gold} then 5",
        " ",
        f" #### ,. then {gold}",
        f" So \\boxed{{{gold}}}.",
        f" It is $x={gold}$, I think.",
        f" x = {gold}.",
        f" {gold}</s> 7",
        f" \\frac{{a}}b or ${gold}$ Q: 5",
    ]
    return replies[len(context) % len(replies)]


def run(tasks, num_fewshot, bos, max_length, subtasks=None):
    model = Toy(bos, max_length, reply)
    results = simple_evaluate(model=model, tasks=tasks, num_fewshot=num_fewshot, bootstrap_iters=1000)
    left_out = ("doc", "resps", "doc_hash", "prompt_hash", "target_hash")
    samples = {}
    for name, rows in results["samples"].items():
        samples[name] = [{k: v for k, v in row.items() if k not in left_out} for row in rows]
        for row in samples[name]:
            # The choices' context is the same; it is kept once.
            first, *others = row["arguments"]
            row["arguments"] = [list(first)] + [[None if a[0] == first[0] else a[0], *a[1:]] for a in others]
    tokens = [[context, continuation, *answer] for _, context, continuation, answer in model.calls]
    return {"num_fewshot": num_fewshot, "bos": bos, "max_length": max_length, "results": results["results"], "n-shot": results["n-shot"], "samples": samples, "tokens": tokens if max_length < 100 else tokens[:4], "raw": model.raw}


def huggingface_strided(ids, max_length, stride):
    """https://huggingface.co/docs/transformers/perplexity, without torch."""
    nll_sum, n_tokens, prev_end_loc = 0.0, 0, 0
    for begin_loc in range(0, len(ids), stride):
        end_loc = min(begin_loc + max_length, len(ids))
        trg_len = end_loc - prev_end_loc
        losses = [-s for s, _ in token_scores(ids[begin_loc:end_loc])]
        valid = losses[-trg_len:]
        num_loss_tokens = trg_len - 1
        nll_sum += sum(valid) / len(valid) * num_loss_tokens
        n_tokens += num_loss_tokens
        prev_end_loc = end_loc
        if end_loc == len(ids):
            break
    return [nll_sum, n_tokens]


def llama_cpp(ids, n_ctx, bos):
    """tools/perplexity/perplexity.cpp, without --ppl-stride."""
    nlls = []
    for chunk in range(len(ids) // n_ctx):
        tokens = ids[chunk * n_ctx : (chunk + 1) * n_ctx]
        if bos:
            tokens = [BOS] + tokens[1:]
        nlls += [-s for s, _ in token_scores(tokens)[n_ctx // 2 :]]
    count = len(nlls)
    nll = sum(nlls) / count
    nll2 = sum(n * n for n in nlls) / count - nll * nll
    return [nll, (nll2 / (count - 1)) ** 0.5, count]


def groups():
    """lm-eval's own aggregation of the MMLU subjects' metrics."""
    from lm_eval.api.metrics import aggregate_subtask_metrics, pooled_sample_stderr, unweighted_mean_stderr

    values, stderrs, sizes = [0.25, 0.4, 0.6], [0.1, 0.15, 0.05], [9, 5, 7]
    return {
        "weighted": [aggregate_subtask_metrics(values, sizes), float(pooled_sample_stderr(stderrs, sizes))],
        "unweighted": [aggregate_subtask_metrics(values, sizes, False), float(unweighted_mean_stderr(stderrs))],
    }


def replies():
    """What the harness's filters and metrics make of random texts."""
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    config = load_yaml(f"{TASKS}/gsm8k/gsm8k.yaml")
    ignore = config["metric_list"][0]["regexes_to_ignore"]
    filters = [
        RegexFilter(**{k: v for k, v in f["filter"][0].items() if k != "function"}) for f in config["filter_list"]
    ]
    out = []
    for _ in range(400):
        parts = ["#### ", "####", "18", "1,800", "$", ".", ",", "-", " ", "\n", "x", "7", "0.5", "１", "答案"]
        text = "".join(rnd.choice(parts) for _ in range(rnd.randrange(9)))
        gold = "so it is\n#### " + rnd.choice(["18", "1,800", "7", "0.5", "-7"])
        row = [text, gold]
        for f in filters:
            ((found,),) = f.apply([[text]], [{}])
            score = exact_match_hf_evaluate([found], [gold], regexes_to_ignore=ignore, ignore_case=True)
            row += [found, float(score["exact_match"])]
        out.append(row)
    return out


class Tokenized(Toy):
    """The toy with the pieces of a real tokenizer, without a beginning token."""

    def __init__(self, path):
        super().__init__(False, 4096)
        self.pieces = Tokenizer.from_file(path)

    def tok_encode(self, string, add_special_tokens=None, **kwargs):
        return self.pieces.encode(string, add_special_tokens=False).ids


def pairs():
    """Contexts and continuations, what the harness makes of them, and the toy's answers."""
    texts = [("http:", "//x"), ("a b", "c d"), ("Answer:", " A"), ("Answer: ", "A"), ("x \u3000\n", " y z"), ("1", "2 3"), ("It was n", "ever so"), ("答案：", "A 是"), ("", "no context"), ("</s", ">x y")]
    tokenizer = os.path.join(SHARED, "../../fixtures/tokenizers/smollm2/tokenizer.json")
    out = {}
    for name, model in {"toy": Toy(False, 4096), "toy_bos": Toy(True, 4096), "smollm2": Tokenized(tokenizer)}.items():
        # The toy has no tokens left for a continuation that its last piece swallows.
        asked = [t for t in texts if len(model.tok_encode(t[0] + t[1])) > len(model.tok_encode(t[0].rstrip())) or not t[0]]
        model.loglikelihood([Instance("loglikelihood", {}, text, 0) for text in asked])
        out[name] = [[*pair, context, continuation, *answer] for pair, context, continuation, answer in model.calls]
    return out


def math_pairs():
    """AGIEval's comparison of random answers."""
    is_equiv = load_yaml(f"{TASKS}/agieval/math.yaml")["process_results"].__globals__["is_equiv"]
    parts = ["\\frac", "1", "2", "{", "}", "/", "\\sqrt", "3", "x=", "$", "\\boxed{", "0.5", " .", ".5", "\\text{ cm}", "\\%", " ", "=", "^\\circ", "\n", "a", "\\dfrac12", "\\left("]
    out = []
    for i in range(600):
        a = "".join(rnd.choice(parts) for _ in range(rnd.randrange(1, 7)))
        variants = [a, f"${a}$", f"so x = {a}.", f"\\boxed{{{a}}}", a.replace("1/2", "\\frac{1}{2}")]
        b = rnd.choice(variants) if i % 3 else "".join(rnd.choice(parts) for _ in range(3))
        out.append([a, b, bool(is_equiv(a, b))])
    return out


def classification():
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    gold = [rnd.randrange(3) for _ in range(40)]
    predicted = [g if rnd.random() < 0.6 else rnd.randrange(3) for g in gold]
    return {"gold": gold, "predicted": predicted, "accuracy": accuracy_score(gold, predicted), "macro_f1": f1_score(gold, predicted, average="macro"), "confusion": confusion_matrix(gold, predicted).tolist()}


def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"fnv1a:{value:016x}"


def hashed(run):
    """The run without the texts of a data set that others made."""
    run["raw"] = {fnv1a(context): reply for context, reply in run["raw"].items()}
    for samples in run["samples"].values():
        for sample in samples:
            sample["target"] = fnv1a(sample["target"])
            for argument in sample["arguments"]:
                if isinstance(argument[0], str):
                    argument[0] = fnv1a(argument[0])
    return run


def main():
    out = {}
    m, c, a, g, r = mmlu(), ceval(), agieval(), gsm8k(), rolling()
    out["mmlu"] = run(m, 5, True, 60)
    out["mmlu_long"] = run(m, 5, False, 4096)
    out["ceval"] = run(c, 5, False, 4096)
    out["agieval"] = run(a, 0, True, 4096)
    out["gsm8k"] = hashed(run(g, 5, False, 4096))
    out["rolling"] = run(r, 0, False, 50)
    out["rolling_bos"] = run(r, 0, True, 50)
    out["samples"] = {f"{n},{k}": random.Random(1234).sample(range(n), k) for n, k in [(200, 5), (10, 5), (22, 6), (100, 20), (21, 5), (7473, 8), (5, 5)]}
    ids = Toy(True, 0).tok_encode(json.load(open(path("texts.json")))[3])
    out["strided"] = {f"{m},{s}": huggingface_strided(ids, m, s) for m, s in [(50, 20), (64, 64), (1000, 512)]}
    out["llama_cpp"] = {"bos": llama_cpp(ids, 32, True), "none": llama_cpp(ids[1:], 32, False)}
    out["groups"], out["classification"] = groups(), classification()
    out["replies"], out["math_pairs"] = replies(), math_pairs()
    out["pairs"] = pairs()
    json.dump(out, open(os.path.join(HERE, "lm_eval.json"), "w"), ensure_ascii=False, separators=(",", ":"))


main()
