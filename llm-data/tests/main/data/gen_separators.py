"""Renderings of fschat's conversation.py (0.2.36) for separators.json.

styles     every SeparatorStyle with made-up fields, most with a few examples; cases as in the shared
           fastchat_prompts.json, and some with empty messages and line breaks of both kinds
built_in   fschat's own templates that llm-data ships under the same name
Usage: gen_separators.py CONVERSATION_PY > separators.json
"""
import importlib.util
import json
import sys

spec = importlib.util.spec_from_file_location("conversation", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["conversation"] = module
spec.loader.exec_module(module)

TURNS = [
    ["Hello!", None],
    ["Hello!", "Hi there."],
    ["Hello!", "Hi!", "How are you?", None],
    ["你好", "我是助手。😀", "写\r\n一首\n\n诗\n", "春眠\n不觉晓 "],
    ["  padded  ", "line1\n\n\n\nline2\n", "<b>n</b>", None],
    ["", "Hi."],
    ["Hello!", "", "Again", "Yes"],
]
FIELDS = ["system_template", "system_message", "offset", "sep", "sep2", "stop_str", "stop_token_ids"]
BUILT_IN = ["vicuna_v1.1", "llama-2", "chinese-alpaca2", "baize", "stable-vicuna", "metharme"]


def row(make):
    first = make()
    out = {"name": first.name, **{field: getattr(first, field) for field in FIELDS}, "roles": list(first.roles),
           "messages": [list(m) for m in first.messages], "sep_style": module.SeparatorStyle(first.sep_style).name, "cases": []}
    for system in (None, "Be {brief}.", ""):
        for turns in TURNS:
            conversation = make()
            if system is not None:
                conversation.set_system_message(system)
            for index, turn in enumerate(turns):
                conversation.append_message(conversation.roles[index % 2], turn)
            out["cases"].append({"system": system, "messages": turns, "rendered": conversation.get_prompt()})
    return out


def synthetic(name, style, **fields):
    def make():
        base = {"system_template": "S:{system_message}", "system_message": "sys", "roles": ("Q", "A"), "sep": "|\n", "sep2": "</s>"}
        base.update(fields)
        base["messages"] = [list(m) for m in base.get("messages", [])]
        return module.Conversation(name=name, sep_style=style, **base)
    return row(make)


styles = []
for style in module.SeparatorStyle:
    examples = [["Q", "one?"], ["A", "1"]]
    styles.append(synthetic(style.name.lower(), style))
    styles.append(synthetic(style.name.lower() + " examples", style, messages=examples, offset=2))
    styles.append(synthetic(style.name.lower() + " plain", style, system_template="{{x}}{system_message}", system_message=""))
    styles.append(synthetic(style.name.lower() + " bare", style, system_template="{system_message}", system_message=""))
styles.append(synthetic("chatglm2", module.SeparatorStyle.CHATGLM))
built_in = [row(lambda name=name: module.get_conv_template(name)) for name in BUILT_IN]
json.dump({"fschat": "0.2.36", "styles": styles, "built_in": built_in}, sys.stdout, ensure_ascii=False, indent=0)
