"""Goldens of FastChat's cleaning (fschat 0.2.36, markdownify 0.11.6, beautifulsoup4): its
clean_sharegpt.py, then optional_clean.py's repeated digits and filter_wrong_format.py.

    pip install fschat==0.2.36 --no-deps; pip install markdownify==0.11.6 beautifulsoup4 tqdm
    python gen_fastchat.py ../../../../shared/data/sharegpt/fastchat_dummy.json > fastchat_clean.json

Writes our own conversations with what FastChat makes of them, and the ids that it keeps of the file.
"""
import contextlib
import copy
import importlib
import json
import re
import sys

clean_sharegpt = importlib.import_module("fastchat.data.clean_sharegpt")
wrong_format = importlib.import_module("fastchat.data.filter_wrong_format")


class Serial:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    map = staticmethod(map)


clean_sharegpt.ProcessPoolExecutor = Serial


def clean(conversations):
    with contextlib.redirect_stdout(sys.stderr):
        kept = clean_sharegpt.clean_html_all(copy.deepcopy(conversations), None, None)
    texts = lambda one: [turn["value"] for turn in one["conversations"]]
    kept = [one for one in kept if not any(re.search(r"(\d)\1{8}", text) for text in texts(one))]
    return [one for one in kept if not wrong_format.should_skip(one)]


CODE = (
    '<pre><div class="bg-black"><div class="flex"><span>python</span><button class="ml-auto">'
    'Copy code</button></div><div class="p-4"><code class="hljs language-python">'
    '<span class="hljs-keyword">def</span> <span>f</span>(x):\n    <span>return</span> x * 2\n'
    "</code></div></div></pre>"
)
# h: human, g: gpt, s: system.
OURS = [
    [("h", "How do I double a number?"), ("g", f'<div class="markdown"><p>Like this:</p>{CODE}<p>Done.</p></div>')],
    [("h", "Name two birds, please."), ("g", "<p>Two <strong>birds</strong> are <em>here</em>:</p>")],
    [("h", "What is it, please?"), ("g", "<p>It is true: 1 &lt; 2 &amp; 2 &gt; 1.</p>")],
    [("h", "Where do I read it?"), ("g", '<p>See <a href="https://example.com/a">this page</a>.</p>')],
    [("h", "What of inline code?"), ("g", "<p>Call <code>f(x)</code> first.</p><p>Then wait.</p>")],
    [("h", "Say it again, please"), ("g", "2 / 3\n\nAgain, as you wish.")],
    [("h", "Count these letters"), ("g", "Here they are.Copy12 chars / 3 words")],
    [("h", "Show nothing at all"), ("g", "Nothing: ```Copy code``` is there.")],
    [("g", "I speak first here."), ("h", "A question follows"), ("g", "And the answer.")],
    [("s", "A system text"), ("h", "A question follows that"), ("g", "And the answer here.")],
    [("h", "An open question"), ("g", "Its answer is this."), ("h", "One more thing?")],
    [("h", "A question at first"), ("g", "Its answer is that."), ("h", "Now?"), ("h", "And now?")],
    [("h", "A question, then another"), ("h", "And another one"), ("g", "An answer")],
    [("h", "Who made you, please?"), ("g", "I was made by OpenAI.")],
    [("h", "Is ChatGPTs a word?"), ("g", "I do not believe so.")],
    [("h", "A question with an answer"), ("g", "This is the answer."), ("h", "Go on"), ("g", "  "), ("h", "Hm?"), ("g", "Yes.")],
    [("h", ""), ("g", "An answer to nothing at all.")],
    [("h", "Hi"), ("g", "Ho")],
    [("h", "Alone")],
    [("g", "Alone"), ("h", "Alone")],
    [("h", "How do I double a number?"), ("g", f'<div class="markdown"><p>Like this:</p>{CODE}<p>Done.</p></div>'), ("h", "Thanks"), ("g", "Welcome")],
    [("h", "What is the number?"), ("g", "It is 1000000000, give or take.")],
    [("h", "What is that number?"), ("g", "It is 100000000, give or take.")],
    [("h", "List two things, please"), ("g", "Here:\n1. One\n1. Two")],
    [("h", "List three things, please"), ("g", "Here:\n1. One\n2. Two\n1. Three")],
    [("h", "你好，请介绍一下自己"), ("g", "<p>你好！我是一个<strong>助手</strong>。</p>")],
    [("h", "Who speaks unseen here?"), ("g", "\u200bNobody is to be seen.")],
    [("h", "And who speaks after it?"), ("g", "Somebody does."), ("h", "\ue000?"), ("g", "Nobody.")],
    [("h", "Which zeros are these?"), ("g", "〇〇〇〇〇〇〇〇〇〇")],
    [("h", "And which ones are these?"), ("g", "٣٣٣٣٣٣٣٣٣٣")],
    [("h", "Is this an answer at all?"), ("g", "Too many requests in 1 hour. Try again later.")],
    [("h", "What did the plugin say?"), ("g", "It said nothing.")],
    [("h", "What would a plugin say?"), ("g", "It would say nothing.")],
]
PLUGINS = {len(OURS) - 1: ["browser"], len(OURS): None}
NAMES = {"h": "human", "g": "gpt", "s": "system"}
ours = [
    {"id": str(number), "conversations": [{"from": NAMES[who], "value": text} for who, text in turns]}
    | ({"plugins": PLUGINS[number]} if number in PLUGINS else {})
    for number, turns in enumerate(OURS, 1)
]
kept = {one["id"]: [turn["value"] for turn in one["conversations"]] for one in clean(ours)}
dummy = json.load(open(sys.argv[1]))
places = {one["id"]: place for place, one in enumerate(dummy, 1)}
result = {
    "ours": [
        {"from": [who for who, _ in turns], "values": [text for _, text in turns], "kept": kept.get(str(number))}
        | ({"plugins": PLUGINS[number]} if number in PLUGINS else {})
        for number, turns in enumerate(OURS, 1)
    ],
    "dummy": [places[one["id"]] for one in clean(dummy)],
}
print("{\"ours\": [\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in result["ours"]))
print("],\n\"dummy\": " + json.dumps(result["dummy"]) + "}")
