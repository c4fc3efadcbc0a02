"""Goldens of ROUGE-L: 250 random pairs of English outputs by rouge-score's own tokenizer, 250 of
Chinese ones by characters, as places in the files of shared/data/alpaca.

    pip install rouge-score==0.1.2
    python gen_rouge.py ../../../../shared/data/alpaca > rouge.json
"""
import json
import random
import sys

from rouge_score import rouge_scorer, tokenizers


class Characters(tokenizers.Tokenizer):
    def tokenize(self, text):
        return [c for c in text.lower() if c.isalnum()]


def text(record, field):
    return record["instruction"] + "\n" + record["input"] if field == "prompt" else record["output"]


random.seed(20261126)
result = {}
for language, tokenizer in [("en", None), ("zh", Characters())]:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=tokenizer)
    records = json.load(open(f"{sys.argv[1]}/alpaca_{language}_1k.json"))
    rows = []
    for _ in range(250):
        # A text and another of any record, of the same one, or a shuffled and cut copy of itself.
        a, b = random.randrange(len(records)), random.randrange(len(records))
        fields = [random.choice(["prompt", "output"]) for _ in range(2)]
        if random.random() < 0.3:
            b = a
        step = random.choice([1, 1, 2, 3])  # the prediction keeps each `step`th character
        target = text(records[a], fields[0])
        prediction = text(records[b], fields[1])[::step]
        score = scorer.score(target, prediction)["rougeL"]
        rows.append([a, fields[0], b, fields[1], step, score.precision, score.recall, score.fmeasure])
    result[language] = rows
print("{" + ",\n".join(f'"{k}": [\n' + ",\n".join(map(json.dumps, v)) + "]" for k, v in result.items()) + "}")
