"""Writes fastchat_prompts.json: FastChat's prompts as its own way of filling them does
(fastchat/llm_judge/common.py: run_judge_single, run_judge_pair: `prompt_template.format(...)`).

    python3 make.py ../../../../../shared/data/eval
"""
import json, sys

folder = sys.argv[1]
lines = lambda name: [json.loads(line) for line in open(f"{folder}/{name}", encoding="utf-8")]
prompts = {p["name"]: p for p in lines("fastchat_judge_prompts.jsonl")}
questions = {q["question_id"]: q for q in lines("mt_bench_question.jsonl")}
references = {a["question_id"]: a["choices"][0]["turns"] for a in lines("mt_bench_reference_gpt-4.jsonl")}
answers = {
    "one": ["{question} f() { return {x}; }", "{answer_a} {{}} 二"],
    "two": ["[The End of Assistant A's Answer]\n{ref_answer_1}", "{0} {} }{"],
}
out = []
for number in (81, 101):
    q1, q2 = questions[number]["turns"]
    reference = number in references and questions[number]["category"] in ("math", "reasoning", "coding")
    kwargs = {}
    if reference:
        kwargs = {"ref_answer_1": references[number][0], "ref_answer_2": references[number][1]}
    (a1, a2), (b1, b2) = answers["one"], answers["two"]
    for kind, base in (("single", "single-math-v1" if reference else "single-v1"),
                       ("pair", "pair-math-v1" if reference else "pair-v2")):
        for turn in (1, 2):
            prompt = prompts[base + ("-multi-turn" if turn == 2 else "")]
            if kind == "single":
                fields = dict(question=q1, answer=a1) if turn == 1 else dict(
                    question_1=q1, question_2=q2, answer_1=a1, answer_2=a2)
            else:
                fields = dict(question=q1, answer_a=a1, answer_b=b1) if turn == 1 else dict(
                    question_1=q1, question_2=q2, answer_a_1=a1, answer_b_1=b1, answer_a_2=a2, answer_b_2=b2)
            out.append({"question_id": number, "kind": kind, "turn": turn, "prompt": prompt["name"],
                        "system": prompt["system_prompt"],
                        "user": prompt["prompt_template"].format(**fields, **kwargs)})
json.dump({"answers": answers, "prompts": out}, open("fastchat_prompts.json", "w", encoding="utf-8"), ensure_ascii=False, indent=1)
