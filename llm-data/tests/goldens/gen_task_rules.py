"""Golden of Self-Instruct's rules: random replies, read by the reference implementations.

python gen_task_rules.py STANFORD_ALPACA_CHECKOUT BELLE_GENERATE_INSTRUCTION_PY > task_rules.json
(generate_instruction.py of tatsu-lab/stanford_alpaca, 1.5M/generate_instruction.py of
LianjiaTech/BELLE at 4c0e78a; both Apache-2.0). The texts are ours.
"""
import json, random, re, string, subprocess, sys

EN = """Name three ways to save water at home.|Draw a cat on a table.|Explain the imagery of the poem.
Rewrite the graph of words as a list|Write a program that sorts numbers.|write a program that sorts numbers.
Do it now|Do it right now|"Quoted" instruction with words here|École rules are to be explained
Mapping is a fun activity to try|Go to the shop and buy milk|GO TO the shop and buy milk
Summarize the file_name of the text|Summarize the file-name of the text|Explain what a map is used for
A café map explained to all the people|Let us plan the videos of a day|#1 is the best of all numbers
4 is the best of all numbers|(Translate) this into French please|Suggest a name for a baker's shop
Describe MUSIC to a child of five|Sort these words by their length: tree, a, house
Which of the two is heavier, and why?|What is a flowcharts tool good for?|Plot the story of a short novel"""
ZH = """写一首关于秋天的诗|解释光合作用|三个字|四个字呢|翻译|把下面的句子翻译成英文|描述这张图片的内容
总结下面的文件|打开链接并总结|给出一个示例来说明递归|例子""".replace("\n", "|").split("|")
EN = EN.replace("\n", "|").split("|") + ["word " * 150, "word " * 151, ""]
ZH += ["请" + "很" * n + "好地回答" for n in (93, 94, 95, 96, 142, 144)]
ZH += ["请按示例" + "很" * n + "好地回答" for n in (90, 95, 139, 140, 141, 142, 150)]


def reference(source, name):
    begin, end = source.index("def " + name), source.index("def generate_instruction_following_data")
    namespace = {"re": re, "string": string}
    exec(source[begin:end], namespace)
    return namespace[name]


def reply(texts, labels, none, zh):
    count, text = random.randint(1, 4), ""
    for task in range(count):
        number, space = 4 + task, random.choice([" ", "  ", "\n"])
        colon = random.choice([":", "："]) if zh else ":"
        mode = random.random()
        begin = f"{number}.{space}{labels[0]}{colon}" if task or (zh and random.random() < 0.5) else ""
        text += f"{begin} {random.choice(texts)}\n"
        if mode > 0.08:
            given = random.choice([none, none, "some input text", "Line one\nline two", "一些输入", "4"])
            text += f"{number}.{space}{labels[1]}{colon}\n{given}\n"
        if mode > 0.96 and not zh:
            text += f"{number}. {labels[1]}:\n{none}\n"
        if mode > 0.12:
            answer = random.choice(["An answer.", "A\nB\nC", "12. not a label", "一个回答。", "看这张图片"])
            text += f"{number}.{space}{labels[2]}{colon}\n{answer}\n"
        if task < count - 1 or random.random() < 0.5:
            text += "###\n"
    return text


def cases(function, texts, labels, none, zh, message):
    for _ in range(150):
        text, finish = reply(texts, labels, none, zh), random.choice(["stop", "stop", "length"])
        try:
            tasks = function(3, {**message(text), "finish_reason": finish})
        except IndexError:  # an empty instruction trips Alpaca's inst[0] only after its length rule
            continue
        yield {"reply": text, "finish_reason": finish, "tasks": tasks}


def show(checkout, path):
    command = ["git", "-C", checkout, "show", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


random.seed(5)
alpaca = reference(show(sys.argv[1], "HEAD:generate_instruction.py"), "post_process_gpt3_response")
belle_source = open(sys.argv[2], encoding="utf8").read()
belle = reference(belle_source, "post_process_gpt3_response")
blacklist = eval(re.search(r"blacklist = (\[.*?\])", belle_source, re.S).group(1))
en = list(cases(alpaca, EN, ["Instruction", "Input", "Output"], "<noinput>", False, lambda t: {"text": t}))
zh = list(cases(belle, ZH, ["指令", "输入", "输出"], "<无输入>", True, lambda t: {"message": {"content": t}}))
json.dump({"en": en, "zh": zh, "zh_blacklist": blacklist}, sys.stdout, ensure_ascii=False, indent=0)
