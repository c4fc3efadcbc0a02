"""Random judgments, and the figures that the systems' own scripts compute from them.

    pip install --no-deps fschat==0.2.36 alpaca_eval==0.6.6; pip install pandas scipy scikit-learn statsmodels
    git clone https://github.com/lmarena/arena-hard-auto; git clone https://github.com/lm-sys/vicuna-blog-eval
    python figures.py ARENA_CLONE VICUNA_CLONE

Writes judgments/ and figures.json beside this file. Vicuna's reviews are the published ones
(Apache-2.0), cut to the first line of their texts.
"""

import importlib.util
import json
import pathlib
import random
import subprocess
import sys
import types
import warnings
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import statsmodels.api as sm

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).parent
OUT = HERE / "judgments"
ARENA, VICUNA = sys.argv[1:]
random.seed(20230330)
MODELS = ["vicuna-13b", "alpaca-13b", "llama-13b"]
CATEGORIES = ["writing", "math", "coding"]


def write(name, rows, array=False):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n" if array else "\n".join(lines) + "\n")
    return path


def source(clone, commit, path):
    return subprocess.run(["git", "-C", clone, "show", f"{commit}:{path}"], check=True, capture_output=True, text=True).stdout


def questions():
    rows = [{"question_id": 81 + i, "category": CATEGORIES[i % 3], "turns": ["?", "??"]} for i in range(30)]
    write("question.jsonl", rows)
    return {row["question_id"]: row["category"] for row in rows}


def show_result(path, function, **options):
    """The tables that FastChat's show_result.py prints."""
    found = importlib.util.find_spec("fastchat").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("show_result", f"{found}/llm_judge/show_result.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tables = []
    module.print = lambda shown: tables.append(shown) if isinstance(shown, pd.DataFrame) else None
    args = types.SimpleNamespace(input_file=path, bench_name="mt_bench", model_list=None, **options)
    getattr(module, function)(args)
    return tables


def clustered_error(values, clusters):
    """The standard error of a mean of values that are alike within clusters."""
    fit = sm.OLS(np.asarray(values, float), np.ones(len(values))).fit(cov_type="cluster", cov_kwds={"groups": pd.factorize(np.asarray(clusters))[0]})
    return fit.bse[0]


def fastchat_single(categories):
    rows = []
    for question in categories:
        for model in MODELS:
            for turn in (1, 2):
                score = random.choice([1, 3, 5, 7, 8, 9, 10, 6.5, 7.5, -1])
                judge = ["gpt-4", "single-v1" if turn == 1 else "single-v1-multi-turn"]
                rows.append({"question_id": question, "model": model, "judge": judge, "user_prompt": "…", "judgment": f"Rating: [[{score}]]",
                             "score": score, "turn": turn, "tstamp": 1687000000.5})
    rows += random.sample(rows, 4)
    path = write("gpt-4_single.jsonl", rows)
    first, second, both = (table["score"] for table in show_result(path, "display_result_single"))
    frame = pd.DataFrame(rows)
    frame = frame[frame["score"] != -1]
    frame["category"] = frame["question_id"].map(categories)
    by_category = frame.groupby(["model", "category"])["score"].mean()
    error = {model: clustered_error(rows["score"], rows["question_id"]) for model, rows in frame.groupby("model")}
    return {model: {
        "mean": both[model], "first": first[(model, 1)], "second": second[(model, 2)], "standard_error": error[model],
        "categories": {category: by_category[(model, category)] for category in CATEGORIES},
    } for model in MODELS} | {"duplicates": 4, "unparsable": sum(row["score"] == -1 for row in rows)}


def fastchat_pair(categories):
    rows = []
    for question in categories:
        for i, model_1 in enumerate(MODELS):
            for model_2 in MODELS[i + 1 :]:
                for turn in (1, 2):
                    games = [random.choice(["model_1", "model_1", "model_2", "tie", "error"] if random.random() < 0.3 else ["model_1", "tie", "model_2"]) for _ in range(2)]
                    games[1] = random.choice(games)
                    rows.append({"question_id": question, "model_1": model_1, "model_2": model_2, "g1_winner": games[0], "g2_winner": games[1],
                                 "judge": ["gpt-4", "pair-v2"], "g1_user_prompt": "…", "g1_judgment": "…", "g2_user_prompt": "…",
                                 "g2_judgment": "…", "turn": turn, "tstamp": 1687000001.25})
    rows += random.sample(rows, 3)
    path = write("gpt-4_pair.jsonl", rows)
    result = {"duplicates": 3, "unparsable": sum("error" in (row["g1_winner"], row["g2_winner"]) for row in rows)}
    for name, baseline in (("all", None), ("baseline", MODELS[1])):
        (table,) = show_result(path, "display_result_pairwise", baseline_model=baseline)
        result[name] = {model: row.to_dict() for model, row in table.iterrows()}
        for model in result[name]:
            credits, clusters = [], []
            for row in rows:
                models = (row["model_1"], row["model_2"])
                if "error" in (row["g1_winner"], row["g2_winner"]) or model not in models or (baseline or model) not in models:
                    continue
                agreed = row["g1_winner"] == row["g2_winner"] != "tie"
                credits.append(float(row[row["g1_winner"]] == model) if agreed else 0.5)
                clusters.append(row["question_id"])
            result[name][model]["standard_error"] = clustered_error(credits, clusters)
    return result


def alpaca_eval():
    for name in ("datasets", "dotenv", "huggingface_hub", "pkg_resources", "tqdm", "yaml", "patsy"):
        sys.modules[name] = MagicMock()
    package = types.ModuleType("alpaca_eval")
    package.__path__ = list(importlib.util.find_spec("alpaca_eval").submodule_search_locations)
    sys.modules["alpaca_eval"] = package
    metrics = types.ModuleType("alpaca_eval.metrics")
    metrics.__path__ = [f"{package.__path__[0]}/metrics"]
    sys.modules["alpaca_eval.metrics"] = metrics
    from alpaca_eval.metrics.winrate import get_winrate

    rows, result = [], {}
    for model in MODELS:
        for i in range(60):
            weighted = 1 + random.random() if model == MODELS[0] else random.choice([1, 2, 2, 1.5, 0, 1.0])
            preference = random.choice([weighted] * 9 + [None])
            rows.append({"instruction": f"Instruction {i}", "output_1": "…", "generator_1": "text_davinci_003", "dataset": random.choice(["vicuna", "koala"]),
                         "output_2": "答" * random.randint(0, 30), "generator_2": model, "annotator": "weighted_alpaca_eval_gpt4_turbo",
                         "preference": preference, "price_per_example": 0.0125, "time_per_example": 0.5})
    write("annotations.json", rows, array=True)
    for model in MODELS:
        frame = pd.DataFrame([row for row in rows if row["generator_2"] == model])
        figures = {key: float(value) for key, value in get_winrate(frame).items()}
        result[model] = figures | {"avg_length": int(frame["output_2"].str.len().mean())}
    return result


def arena_v01():
    labels = ["A>>B", "A>B", "A=B", "B>A", "B>>A"]
    rows = []
    for model in MODELS:
        weights = [random.random() + 0.1 for _ in labels]
        for i in range(80):
            games = [{"user_prompt": "…", "judgment": "…", "score": random.choices(labels + [None, "A"], weights + [0.05, 0.02])[0]} for _ in range(2)]
            rows.append({"question_id": f"q{i:03}", "model": model, "judge": "gpt-4-1106-preview", "games": games})
        write(f"arena-hard-v0.1/{model}.jsonl", [row for row in rows if row["model"] == model])
    np.NAN = np.nan
    sys.modules["tqdm"] = MagicMock()
    math_scope, show_scope = {"__name__": "utils_math"}, {"__name__": "show_result"}
    exec(source(ARENA, "3071ef9", "utils_math.py"), math_scope)
    for name, names in (("utils", ["load_model_answers"]), ("utils_math", [n for n in math_scope if not n.startswith("__")])):
        sys.modules[name] = types.ModuleType(name)
        for n in names:
            setattr(sys.modules[name], n, math_scope.get(n))
    exec(source(ARENA, "3071ef9", "show_result.py"), show_scope)
    battles = [battle for row in rows for battle in show_scope["get_battles_from_row"](row, False, 3, "gpt-4-0314")]
    elo = math_scope["compute_mle_elo"](pd.DataFrame(battles))
    rates = math_scope["predict_win_rate"](elo)["gpt-4-0314"]
    return {model: {"score": rates[model] * 100, "battles": sum(battle["model_b"] == model for battle in battles)} for model in MODELS}


def arena_v20():
    labels = ["A>>B", "A>B", "A=B", "B>A", "B>>A", "B=A", "A<B", "B<<A"]
    rows = []
    for model in MODELS:
        weights = [random.random() + 0.1 for _ in labels]
        for i in range(80):
            games = [random.choice([{"score": random.choices(labels + [None], weights + [0.05])[0], "judgment": {"answer": "…"}, "prompt": []}] * 30 + [None]) for _ in range(2)]
            rows.append({"uid": f"u{i:03}", "category": random.choice(["hard_prompt", "creative_writing"]), "judge": "gpt-4.1", "model": f"lab/{model}",
                         "baseline": "o3-mini-2025-01-31", "games": games})
        write(f"arena-hard-v2.0/{model}.jsonl", [row for row in rows if row["model"].endswith(model)])
    module = MagicMock()
    for name in ("torch", "utils", "utils.judge_utils", "utils.math_utils"):
        sys.modules[name] = module
    sys.modules["tqdm"].tqdm = lambda files: files
    scope = {"__name__": "show_result", "print": lambda *shown: None}
    exec(source(ARENA, "196f6b8", "show_result.py"), scope)
    scope["glob"] = lambda pattern: sorted(str(path) for path in (OUT / "arena-hard-v2.0").glob("*.jsonl"))
    battles = scope["load_judgments"](["gpt-4.1"], "arena-hard-v2.0")
    battles["model"] = battles["model"].map(lambda name: name.split("/")[-1])
    battles["scores"] = battles["scores"].astype(float)
    result = {}
    for (model, category), group in battles.groupby(["model", "category"]):
        means = pd.Series([group["scores"].sample(frac=1.0, replace=True, random_state=i).mean() for i in range(20000)])
        result.setdefault(model, {})[category] = {"score": group["scores"].mean() * 100, "battles": len(group),
                                                  "lower": means.quantile(0.05) * 100, "upper": means.quantile(0.95) * 100}
    return result


def vicuna():
    result = {}
    for other in ("gpt35", "alpaca-13b"):
        name = f"review_{other}_vicuna-13b.jsonl"
        rows = [json.loads(line) for line in source(VICUNA, "HEAD", f"eval/table/review/vicuna-13b_20230322-clean-lang/{name}").splitlines()]
        write(name, [row | {"text": row["text"].split("\n")[0]} for row in rows])
        first, second = (pd.Series([row["score"][i] for row in rows]) for i in (0, 1))
        result[name] = {"models": [other, "vicuna-13b"], "sums": [first.sum(), second.sum()], "ratio": second.sum() / first.sum(),
                        "wins": int((second > first).sum()), "losses": int((second < first).sum()), "ties": int((second == first).sum())}
    return result


categories = questions()
figures = {
    "fastchat-single": fastchat_single(categories),
    "fastchat-pair": fastchat_pair(categories),
    "alpaca-eval": alpaca_eval(),
    "arena-hard-v0.1": arena_v01(),
    "arena-hard-v2.0": arena_v20(),
    "vicuna": vicuna(),
}
(HERE / "figures.json").write_text(json.dumps(figures, indent=1, default=float) + "\n")
