"""What AlpacaEval's own parser of log-probabilities makes of random replies.

    pip install --no-deps alpaca_eval==0.6.6; pip install numpy scipy pandas
    python logprobs.py > logprobs.json

The arguments are those of its annotator `weighted_alpaca_eval_gpt4_turbo`. A preference goes from 1 (the
first output) to 2.
"""

import importlib.util
import json
import logging
import math
import random
import sys
import types
from unittest.mock import MagicMock

logging.disable(logging.CRITICAL)
for name in ("datasets", "huggingface_hub", "dotenv", "pkg_resources", "tqdm", "yaml"):
    sys.modules.setdefault(name, MagicMock())
# The package imports everything; its parsers need only utils.
root = importlib.util.find_spec("alpaca_eval").submodule_search_locations
sys.modules["alpaca_eval"] = package = types.ModuleType("alpaca_eval")
package.__path__ = list(root)
import alpaca_eval.completion_parsers as alpaca

OTHERS = ["Both", "The", "Based", "Output", "model", "mm", "MM", "A", "**", "None", "<|im_end|>", "#", "1"]
random.seed(6)
rows = []
for number in range(250):
    texts = random.sample(OTHERS, random.randint(0, 8))
    texts += random.choice([["m", "M"]] * 8 + [["m"], ["M"]])
    random.shuffle(texts)
    spread = random.choice([0.1, 1.0, 5.0, 20.0])
    logits = [random.gauss(0, spread) for _ in texts]
    total = math.log(sum(math.exp(logit) for logit in logits)) - math.log(random.uniform(0.5, 1))
    top = [{"token": text, "logprob": min(0.0, logit - total)} for text, logit in zip(texts, logits)]
    top.sort(key=lambda one: -one["logprob"])
    if number % 10 == 0:
        top[-1]["logprob"] = -9999.0
    # What was drawn is a verdict.
    drawn = random.choice([one for one in top if one["token"] in "mM"])
    content = [{**drawn, "bytes": list(drawn["token"].encode()), "top_logprobs": top}]
    found = alpaca.logprob_parser(
        {"logprobs": {"content": content}}, numerator_token="m", denominator_tokens=["m", "M"], is_binarize=False
    )[0]
    rows.append({"text": drawn["token"], "logprobs": {"content": content}, "preference": float(found)})
print(json.dumps(rows))
