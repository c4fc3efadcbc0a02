"""What FastChat's, Vicuna's, AlpacaEval's and Arena-Hard's own parsers make of the table's replies.

    pip install --no-deps fschat==0.2.36 alpaca_eval==0.6.6; pip install pandas scipy
    git clone https://github.com/lm-sys/vicuna-blog-eval; git clone https://github.com/lmarena/arena-hard-auto
    python parsers.py VICUNA_CLONE ARENA_CLONE < ../verdicts/replies.jsonl > parsers.jsonl

Models and servers that the packages import are replaced by empty modules; a reply takes the place of
the judge's.
"""

import importlib.util
import json
import logging
import math
import re
import subprocess
import sys
import types
import warnings
from unittest.mock import MagicMock

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
for name in ("openai", "anthropic", "fastchat.model", "fastchat.model.model_adapter", "datasets", "huggingface_hub", "dotenv", "pkg_resources", "tqdm", "yaml"):
    sys.modules[name] = MagicMock()
import fastchat.llm_judge.common as fastchat

# alpaca_eval's package imports everything; its parsers need only utils.
root = importlib.util.find_spec("alpaca_eval").submodule_search_locations
sys.modules["alpaca_eval"] = package = types.ModuleType("alpaca_eval")
package.__path__ = list(root)
import alpaca_eval.completion_parsers as alpaca

OUTPUTS = {1: r"(?:^|\n) ?Output \(a\)", 2: r"(?:^|\n) ?Output \(b\)"}


def functions(clone, commit, path, *names):
    """Functions of a script that has more imports than they need."""
    import ast

    source = subprocess.run(["git", "-C", clone, "show", f"{commit}:{path}"], check=True, capture_output=True, text=True).stdout
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    scope = {"logger": logging.getLogger(), "re": re}
    exec(compile(tree, path, "exec"), scope)
    return [scope[name] for name in names]


(vicuna,) = functions(sys.argv[1], "HEAD", "eval/eval_gpt_review.py", "parse_score")
(arena_v20,) = functions(sys.argv[2], "196f6b8", "gen_judgment.py", "get_score")
(arena_v01,) = functions(sys.argv[2], "3071ef9", "gen_judgment.py", "get_score")
LABELS = {"A>B": "A>B", "B<A": "A>B", "A>>B": "A>>B", "B<<A": "A>>B", "A=B": "A=B", "B=A": "A=B", "B>A": "B>A", "A<B": "B>A", "B>>A": "B>>A", "A<<B": "B>>A"}
PREFERENCES = {1: "A>B", 2: "B>A", 0: "A=B"}


def run(judge, output_format, reply):
    fastchat.OPENAI_MODEL_LIST = ["judge"]
    fastchat.chat_completion_openai = lambda *args, **kwargs: reply
    prompt = {"prompt_template": "", "system_prompt": "", "output_format": output_format}
    answer = {"choices": [{"turns": ["", ""]}]}
    judged = fastchat.Judge("judge", prompt)
    question = {"turns": ["", ""]}
    try:
        result = judge(question, answer, judged, None) if judge is fastchat.run_judge_single else judge(question, answer, answer, judged, None)
    except SyntaxError:  # ast.literal_eval("007")
        return None
    return None if result[0] in (-1, "error") else result[0]


def alpaca_parser(parser, reply, **kwargs):
    """As BaseAnnotator._parse_completions with one example a prompt."""
    try:
        annotations = list(parser(reply, **kwargs))
    except Exception:
        return None
    if len(annotations) != 1 or annotations[0] is None or math.isnan(annotations[0]):
        return None
    return PREFERENCES[annotations[0]]


for line in sys.stdin:
    reply = json.loads(line)["reply"]
    single = run(fastchat.run_judge_single, "[[rating]]", reply)
    pair = run(fastchat.run_judge_pair, "[[A]]", reply)
    scores = vicuna(reply)
    v01 = arena_v01(reply, re.compile(r"\[\[([AB<>=]+)\]\]"))[0]
    v20 = arena_v20(reply, [r"\[\[([AB<>=]+)\]\]", r"\[([AB<>=]+)\]"])
    print(json.dumps({
        "reply": reply,
        "fastchat-single": None if single is None else float(single),
        "fastchat-pair": {"A": "A>B", "B": "B>A", "tie": "A=B"}.get(pair),
        # Infinities and NaN, which float() reads, count as unparsable here.
        "vicuna-review": None if scores == [-1, -1] or not all(map(math.isfinite, scores)) else scores,
        "alpaca-eval-regex": alpaca_parser(alpaca.regex_parser, reply, outputs_to_match=dict(OUTPUTS)),
        "alpaca-eval-ranking": alpaca_parser(alpaca.ranking_parser, reply),
        "arena-hard-v0.1": v01 if v01 in ("A>>B", "A>B", "A=B", "B>A", "B>>A") else None,
        "arena-hard-v2.0": LABELS.get(v20),
    }, ensure_ascii=False))
