"""Chat templates with tools and with {% generation %} blocks, as transformers renders them.

The templates of the shared chat_templates.json that write the assistant's content get a generation block
around it (`marked`); others are written here. Spans are in characters; `masks` are transformers'
assistant masks over SmolLM2's ids. Empty spans are left out.
Usage: gen_chat_marks.py CHAT_TEMPLATES_JSON SMOLLM2_TOKENIZER_DIR > chat_marks.json
"""
import json
import sys

import transformers
from transformers import AutoTokenizer
from transformers.utils.chat_template_utils import render_jinja_template

SHARED, TOKENIZER = sys.argv[1:3]
tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)

CHATML = """{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' %}
    {% generation %}
{{ m.content + '<|im_end|>' }}
    {%- endgeneration %}
{%- else %}
{{- m.content + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}"""
TWICE = """{% for m in messages %}{% if m.role == 'assistant' %}A({% generation %}{{ m.content | trim }}{% endgeneration %})[{%- generation -%} end {%- endgeneration -%}]{% else %}U({{ m.content }}){% endif %}{% endfor %}{% if add_generation_prompt %}A({% endif %}"""
LAST = """{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' and loop.last %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
SCOPE = """{% set ns = namespace(n=0) %}{% for m in messages %}{% set x = 'a' %}{% generation %}{% set x = 'b' %}{% set ns.n = ns.n + 1 %}{{ x ~ ns.n }}{% for c in m.content %}{% if c == 'o' %}{% continue %}{% endif %}{{ c }}{% endfor %}{% endgeneration %}{{ x }}
{% endfor %}{{ ns.n }}"""
TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\n# Tools\\n' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '\\n' ~ tools | length ~ tools[0].function.name ~ (tools[0].function.strict is none) ~ '<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
{%- if tools is not none %}{{ tools | tojson(indent=2) }}{% endif %}"""
TOOL_LIST = [
    {"type": "function", "function": {"name": "get_weather", "description": "Says \"<b>wetter</b>\" & 天气 <|im_end|>", "strict": None,
     "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Bern", "北京"]}, "days": {"type": "integer", "default": 3, "minimum": -1.5}},
                    "required": ["city"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "noop", "parameters": {}, "list": []}},
]
user, assistant, system = (lambda role: lambda content: {"role": role, "content": content})("user"), \
    (lambda content: {"role": "assistant", "content": content}), (lambda content: {"role": "system", "content": content})
CONVERSATIONS = [
    [user("Hello!"), assistant("Hi there.")],
    [user("Hello!"), assistant("Hi there."), user("  How are\nyou? ")],
    [system(" Be brief. "), user("你好"), assistant("你好!😀"), user("1+1?"), assistant(" 2\n")],
    [user("Hello!")],
]


def marked(template):
    """The shared template with a block around what it writes for the assistant, where that is one expression."""
    for old, new in [
        ("{{ ' '  + content.strip() + ' ' + eos_token }}", "{% generation %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endgeneration %}"),
        ("{{ message['content'] + eos_token}}", "{% generation %}{{ message['content'] + eos_token}}{% endgeneration %}"),
        ("{{ '<|assistant|>\n'  + message['content'] + eos_token }}", "{{ '<|assistant|>\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"),
        ("{{ ' ASSISTANT: ' + message['content'] | trim + eos_token }}", "{{ ' ASSISTANT:' }}{% generation %}{{ ' ' + message['content'] | trim + eos_token }}{% endgeneration %}"),
        ("{{ '### Response:\n' + message['content'].strip() + eos_token + '\n\n' }}", "{{ '### Response:\n' }}{% generation %}{{ message['content'].strip() + eos_token }}{% endgeneration %}{{ '\n\n' }}"),
    ]:
        if old in template:
            return template.replace(old, new)
    return None


def rows():
    for shared in json.load(open(SHARED))["templates"]:
        yield shared["name"], shared["template"], shared["bos_token"], shared["eos_token"]
        if marked(shared["template"]):
            yield shared["name"] + " marked", marked(shared["template"]), shared["bos_token"], shared["eos_token"]
    for name, template in [("chatml blocks", CHATML), ("twice", TWICE), ("last", LAST), ("scope", SCOPE), ("tools", TOOLS)]:
        yield name, template, "", "<|im_end|>"


result = []
for name, template, bos, eos in rows():
    tokenizer.bos_token, tokenizer.eos_token = (bos or None), eos
    has = "generation %}" in template or "generation -%}" in template
    row = {"name": name, "template": template, "bos_token": bos, "eos_token": eos, "cases": []}
    for messages in CONVERSATIONS:
        for tools in (None, TOOL_LIST):
            for add in (False, True):
                case = {"messages": messages, "tools": tools, "add_generation_prompt": add}
                try:
                    texts, spans = render_jinja_template([messages], tools, chat_template=template, add_generation_prompt=add,
                                                         return_assistant_tokens_mask=has, bos_token=bos, eos_token=eos)
                except Exception as error:
                    row["cases"].append({**case, "error": str(error)})
                    continue
                case["text"] = texts[0]
                if has:
                    case["spans"] = [list(span) for span in spans[0] if span[0] < span[1]]
                if has and "<|im_start|>" in template:
                    out = tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, add_generation_prompt=add,
                                                        return_assistant_tokens_mask=True, return_dict=True, tokenize=True)
                    case["ids"], case["mask"] = list(out["input_ids"]), list(out["assistant_masks"])
                row["cases"].append(case)
    result.append(row)
json.dump({"transformers": transformers.__version__, "templates": result}, sys.stdout, ensure_ascii=False, indent=0)
