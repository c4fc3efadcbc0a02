"""Replies of SmolLM2-135M-Instruct to judge prompts, as material for the table of verdicts.

    python generate_smollm2.py MODEL_DIR > smollm2_replies.jsonl

Each line: {id, grammar, sampled, reply}; `shown` ones follow an exchange that shows the format. The
verdicts in replies.jsonl were then judged by hand.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

QUESTION = "Name three prime numbers."
GOOD = "Three prime numbers are 2, 3 and 5."
BAD = "Three prime numbers are 4, 6 and 9."
PAIRS = f"[Question]\n{QUESTION}\n\n[Assistant A]\n{GOOD}\n\n[Assistant B]\n{BAD}\n\n"

PROMPTS = {
    "rating": f"Rate the answer to the question.\n\n[Question]\n{QUESTION}\n\n[Answer]\n{BAD}\n\n"
    'Explain in one sentence, then rate the answer from 1 to 10 in this format: "[[rating]]", for example: "Rating: [[5]]".',
    "pair": PAIRS + 'Which assistant is better? Explain in one sentence, then output "[[A]]" if assistant A is better, '
    '"[[B]]" if assistant B is better, and "[[C]]" for a tie.',
    "arena-hard": PAIRS + "Output only one label as the final verdict:\n1. A is significantly better: [[A>>B]]\n"
    "2. A is slightly better: [[A>B]]\n3. Tie: [[A=B]]\n4. B is slightly better: [[B>A]]\n"
    '5. B is significantly better: [[B>>A]]\n\nExample output: "My final verdict is tie: [[A=B]]".',
    "vicuna": PAIRS + "Rate both assistants from 1 to 10. Output a single line with only two values, the scores for "
    "Assistant A and B, separated by a space. In the next line explain.",
    "belle": f"满分为1分，最低分为0分。请按照\"得分:\"这样的形式输出分数。\n\n问题: 列出三个质数。\n标准答案: 2、3、5\n模型回答: 4、6、9",
    "alpaca-eval": f"Instruction: {QUESTION}\n\nOutput (a): {GOOD}\n\nOutput (b): {BAD}\n\n"
    "Which output is better? Answer with Output (a) or Output (b) only.",
    "json": PAIRS + 'Which is better? Reply with JSON only: {"winner": "A"}, {"winner": "B"} or {"winner": "tie"}.',
    "rubric": f"[Question]\n{QUESTION}\n\n[Answer]\n{GOOD}\n\nScore the answer from 1 to 10 by each criterion, one a line:\n"
    "accuracy: [[score]]\nclarity: [[score]]\n",
}

# What the assistant replies in the exchange that shows the format.
SHOWN = {
    "rating": "The answer is polite but wrong. Rating: [[2]]",
    "pair": "Assistant B is more precise. Final verdict: [[B]]",
    "arena-hard": "Assistant B explains more. My final verdict is: [[B>A]]",
    "vicuna": "7 9\nAssistant B is more precise.",
    "belle": "模型回答与标准答案部分一致。得分: 0.5",
    "alpaca-eval": "Output (b)",
    "json": 'Here is my verdict:\n```json\n{"winner": "B"}\n```',
    "rubric": "accuracy: [[4]]\nclarity: [[9]]",
}


def main() -> None:
    torch.manual_seed(6)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    for grammar, prompt, shown in [(g, p, s) for s in (False, True) for g, p in PROMPTS.items()]:
        before = [{"role": "user", "content": prompt.replace("three", "two")}, {"role": "assistant", "content": SHOWN[grammar]}]
        chat = before * shown + [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        for sampled, count in ((False, 1), (True, 4 if shown else 6)):
            options = {"do_sample": True, "temperature": 1.0, "top_p": 0.95, "num_return_sequences": count} if sampled else {"do_sample": False}
            with torch.no_grad():
                out = model.generate(**ids, max_new_tokens=90, pad_token_id=tokenizer.eos_token_id, **options)
            for i, row in enumerate(out):
                reply = tokenizer.decode(row[ids["input_ids"].shape[1] :], skip_special_tokens=True)
                name = f"smollm2-{'shown-' * shown}{grammar}-{'s' if sampled else 'g'}{i}"
                print(json.dumps({"id": name, "grammar": grammar, "sampled": sampled, "reply": reply}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
