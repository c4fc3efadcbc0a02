"""Questions in the files of MMLU, C-Eval, AGIEval and GSM8K that nobody published: sums, for comparisons of two programs."""

import csv
import json
import random

EN = ["What is {a} + {b}?", 'Anna says, "I have {a}, {c}." Ben has {b} more.\nHow many has Ben?', "  Take {a}, then add {b}:"]
ZH = ["{a}加{b}等于多少？", "小明有{a}本书，又买了{b}本，“一共”有几本？", "已知x={a}，\n求x+{b}。"]
LETTERS = "ABCDE"


def sums(rnd, texts, count, choices=4):
    """(question, choices, number of the right one)"""
    for i in range(count):
        a, b = rnd.randrange(2, 60), rnd.randrange(2, 40)
        wrong = rnd.sample([n for n in range(a, a + 80) if n != a + b], choices - 1)
        options = [str(n) for n in [a + b, *wrong]]
        rnd.shuffle(options)
        yield texts[i % len(texts)].format(a=a, b=b, c="no more"), options, options.index(str(a + b))


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def mmlu(folder, rnd, count):
    for subject in ("elementary_mathematics", "global_facts"):
        for split, size in (("dev", 5), ("test", count)):
            rows = [[q, *options, LETTERS[gold]] for q, options, gold in sums(rnd, EN, size)]
            write_csv(folder / split / f"{subject}_{split}.csv", rows)


def ceval(folder, rnd, count):
    header = ["id", "question", *"ABCD", "answer", "explanation"]
    for subject in ("middle_school_mathematics", "logic"):
        for split, size in (("dev", 5), ("val", count)):
            rows = [[i, q, *options, LETTERS[gold], ""] for i, (q, options, gold) in enumerate(sums(rnd, ZH, size))]
            write_csv(folder / split / f"{subject}_{split}.csv", [header, *rows])


def agieval(folder, rnd, count):
    """Four choices and five, in both languages, with passages, with several right choices, and free answers."""
    sets = [
        ("sat-math", EN, 4, None), ("aqua-rat", EN, 5, None), ("lsat-ar", EN, 5, "Every number is a whole number. "),
        ("gaokao-mathqa", ZH, 4, None), ("logiqa-zh", ZH, 4, "以下都是整数。"), ("gaokao-physics", ZH, 4, None),
        ("math", EN, 0, None), ("gaokao-mathcloze", ZH, 0, None),
    ]
    for name, texts, choices, passage in sets:
        rows = []
        for i, (question, options, gold) in enumerate(sums(rnd, texts, count, choices or 4)):
            row = {"passage": passage, "question": question, "options": None, "label": None, "answer": None, "other": None}
            if choices:
                row["options"] = [f"({LETTERS[k]}){option}" for k, option in enumerate(options)]
                several = name == "gaokao-physics"
                row["label"] = sorted({LETTERS[gold], LETTERS[i % 4]}) if several else LETTERS[gold]
            else:
                row["answer"] = options[gold]
            rows.append(row)
        write_jsonl(folder / f"{name}.jsonl", rows)


def gsm8k(path, rnd, count):
    rows = []
    for question, options, gold in sums(rnd, EN, count):
        total = int(options[gold])
        rows.append({"question": question, "answer": f"Counting gives {total} = <<{total}={total}>>{total}.\n#### {total:,}"})
    write_jsonl(path, rows)


def make(folder, count, seed=6):
    """Writes mmlu/, ceval/, agieval/, gsm8k_test.jsonl and gsm8k_train.jsonl."""
    rnd = random.Random(seed)
    mmlu(folder / "mmlu", rnd, count)
    ceval(folder / "ceval", rnd, count)
    agieval(folder / "agieval", rnd, count)
    gsm8k(folder / "gsm8k_test.jsonl", rnd, count)
    gsm8k(folder / "gsm8k_train.jsonl", rnd, 20)
