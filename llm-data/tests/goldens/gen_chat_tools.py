"""Conversations with calls of functions, as transformers renders them with tools.

The templates are written here, in the wire formats of the field: `hermes` (also Qwen2.5's), `llama` (3.1), `mistral`,
`thinking` (Qwen3: the last reply gets an empty thinking) and `blocks` ({% generation %}). Of the records of
glaive_toolcall_en.json only length and hash (FNV-1a, 64 bits) of the whole text are kept.
Usage: gen_chat_tools.py GLAIVE_TOOLCALL_JSON [DIRECTORY] > chat_tools.json
With a directory its .jinja files are taken instead of the templates here: to look at those of real models.
"""
import json
import pathlib
import sys

import transformers
from transformers.utils.chat_template_utils import render_jinja_template

HERMES = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- '<tools>' }}
    {%- for tool in tools %}{{- '\\n' ~ (tool | tojson) }}{%- endfor %}
    {{- '\\n</tools><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}{{- '\\n' + message.content }}{%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}{%- set tool_call = tool_call.function %}{%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
BLOCKS = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' %}
        {%- generation %}
        {{- message.content or '' }}
        {%- for call in message.tool_calls or [] %}{{- '<call>' ~ call.function.name ~ (call.function.arguments | tojson) }}{%- endfor %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}{{- message.content + '<|im_end|>' }}{%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
LLAMA = """{%- if tools is not none %}{{- '<|im_start|>system\\nEnvironment: ipython\\n' }}
{%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\\n\\n' }}{%- endfor %}{{- '<|im_end|>' }}{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|im_start|>' + message['role'] + '\\n\\n' + message['content'] | trim + '<|im_end|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if message.tool_calls | length != 1 %}{{- raise_exception('This model only supports single tool-calls at once!') }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|im_start|>assistant\\n\\n' + '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- '}<|im_end|>' }}
    {%- else %}
        {{- '<|im_start|>ipython\\n\\n' }}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}
        {%- else %}{{- message.content }}{%- endif %}
        {{- '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n\\n' }}{%- endif %}"""
MISTRAL = """{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {%- if tools is not none and loop.first %}
            {{- '[AVAILABLE_TOOLS] [' }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != 'return' %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val | tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ', ' }}{%- endif %}
                {%- endfor %}
                {{- '}}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
            {%- endfor %}
            {{- '][/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST]' + message['content'] + '[/INST]' }}
    {%- elif message['role'] == 'tool' or message['role'] == 'tool_results' %}
        {{- '[TOOL_RESULTS]{"name": "' ~ message.name ~ '", "content": ' ~ message.content ~ '}[/TOOL_RESULTS]' }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- '[TOOL_CALLS][' }}
        {%- for tool_call in message.tool_calls %}
            {{- tool_call.function | tojson }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
        {%- endfor %}
        {{- ']<|im_end|>' }}
    {%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + '<|im_end|>' }}
    {%- elif not loop.first %}{{- raise_exception('A system text comes first') }}
    {%- endif %}
{%- endfor %}"""
THINKING = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
        {%- if message.content is string %}{{- message.content.split('</think>')[-1].lstrip('\\n') }}{%- endif %}
        {%- for call in message.tool_calls %}{{- '<tool_call>' + call.function | tojson + '</tool_call>' }}{%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
TEMPLATES = {"hermes": HERMES, "blocks": BLOCKS, "llama": LLAMA, "mistral": MISTRAL, "thinking": THINKING}

WEATHER = {"name": "get_weather", "description": "Says \"<b>wetter</b>\" & 天气 <|im_end|>", "parameters": {"type": "object", "properties": {
    "city": {"type": "string", "enum": ["Bern", "北京"]}, "days": {"type": "integer", "default": 3}}, "required": ["city"]}}
NOOP = {"type": "function", "function": {"name": "noop", "description": "Nothing", "parameters": {}}}
TOOLS = json.dumps([WEATHER, NOOP], ensure_ascii=False)


def conversation(tools, *messages):
    return {"tools": tools, "messages": [{"role": role, "content": content} for role, content in messages]}


U, A, C, O, S = "user", "assistant", "function_call", "observation", "system"
CALL = json.dumps({"name": "get_weather", "arguments": {"city": "北京", "days": 2, "deep": {"a": [1, 2.5, None, True, "\"q\"\n"]}}}, ensure_ascii=False)
TWO = '[{"name":"get_weather","arguments":{"city":"Bern"}}, {"name": "noop", "arguments": {}}]'
TEXT = '{"name": "noop", "arguments": "{\\"b\\": 1, \\"a\\": \\"\\\\u003c|im_end|>\\"}"}'
NUMBERS = '{"name": "noop", "arguments": {"x": [1.0, 1e16, 123456.789, 1e-5, 0.0001, -0.0, 1.5e300, 18446744073709551615]}}'
CONVERSATIONS = [
    conversation(TOOLS, (U, "Weather?"), (C, CALL), (O, '{"t": 3.5, "text": "sun\\n<|im_end|>"}'), (A, "3.5 degrees.")),
    conversation(TOOLS, (S, "Be brief."), (U, "Both, please."), (C, TWO), (O, '{"t": 1}'), (O, "nothing done"), (A, "Done."), (U, "Thanks"), (A, "Welcome.")),
    conversation(TOOLS, (U, "First one,  then the other "), (A, "I look."), (C, CALL), (O, "rain"), (C, TEXT), (O, "ok"), (A, " Rain.\n")),
    conversation(TOOLS, (U, "Hi"), (A, "Hello"), (U, "Do it"), (C, TEXT)),
    conversation(json.dumps(NOOP), (U, "Numbers"), (C, NUMBERS), (O, "1")),
    conversation(None, (U, "No tools"), (C, CALL), (O, "rain"), (A, "Rain")),
    conversation("[]", (U, "None"), (A, "Right.")),
]


def as_transformers(messages):
    """transformers' messages: https://huggingface.co/docs/transformers/chat_extras"""
    out, names, words = [], [], None
    for index, message in enumerate(messages):
        role, content = message["role"], message["content"]
        following = messages[index + 1]["role"] if index + 1 < len(messages) else None
        if role == "assistant" and following == "function_call":
            words = content
        elif role == "function_call":
            calls = json.loads(content)
            calls = calls if isinstance(calls, list) else [calls]
            calls = [{"name": c["name"], "arguments": json.loads(c["arguments"]) if isinstance(c["arguments"], str) else c["arguments"]} for c in calls]
            names = [call["name"] for call in calls]
            said = {} if words is None else {"content": words}
            out.append({"role": "assistant", **said, "tool_calls": [{"type": "function", "function": call} for call in calls]})
            words = None
        elif role == "observation":
            out.append({"role": "tool", "name": names.pop(0), "content": content})
        else:
            out.append({"role": role, "content": content})
    return out


def as_tools(text):
    tools = json.loads(text) if text and text.strip() else []
    tools = tools if isinstance(tools, list) else [tools]
    return [{"type": "function", "function": tool} if "name" in tool else tool for tool in tools] or None


def render(template, messages, tools, add):
    try:
        return {"text": render_jinja_template([as_transformers(messages)], as_tools(tools), chat_template=template,
                                              add_generation_prompt=add, bos_token="", eos_token="<|im_end|>")[0][0]}
    except Exception as error:
        return {"error": str(error)}


def fnv(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


ROLES = {"human": "user", "gpt": "assistant", "function_call": "function_call", "observation": "observation", "system": "system"}
glaive = [{"tools": record["tools"], "messages": [{"role": ROLES[m["from"]], "content": m["value"]} for m in record["conversations"]]}
          for record in json.load(open(sys.argv[1]))]
if len(sys.argv) > 2:
    TEMPLATES = {path.name: path.read_text() for path in sorted(pathlib.Path(sys.argv[2]).glob("*.jinja"))}
result = []
for name, template in TEMPLATES.items():
    cases = []
    for number, one in enumerate(CONVERSATIONS):
        for end in range(1, len(one["messages"]) + 1):
            part = one["messages"][:end]
            if part[-1]["role"] == "system" or (end < len(one["messages"]) and [part[-1]["role"], one["messages"][end]["role"]] in
                                                (["assistant", "function_call"], ["observation", "observation"])):
                continue
            add = part[-1]["role"] in ("user", "observation")
            cases.append({"conversation": number, "messages": end, **render(template, part, one["tools"], add)})
    hashes = []
    for one in glaive:
        text = render(template, one["messages"], one["tools"], False).get("text")
        hashes.append(None if text is None else [len(text.encode()), fnv(text)])
    result.append({"name": name, "template": template, "cases": cases, "glaive": hashes})
json.dump({"transformers": transformers.__version__, "conversations": CONVERSATIONS, "templates": result}, sys.stdout, ensure_ascii=False, indent=None)
