"""Pieces that FastChat cuts conversations into: `pip install fschat==0.2.36 transformers`, then
`python gen_split.py > split_fastchat.json` from this directory. Needs ../../../../shared.

Conversations are those of fastchat_dummy.json and of glaive_toolcall_en.json whose roles alternate; a golden
is [file, conversation, max_length, [[id, messages], ...]], for all conversations that are split or dropped.
"""
import json
from fastchat.data import split_long_conversation as fastchat
from transformers import AutoTokenizer

SHARED = "../../../../shared/"
fastchat.tokenizer = AutoTokenizer.from_pretrained(SHARED + "fixtures/tokenizers/smollm2")
rows = []
for file in ("fastchat_dummy", "glaive_toolcall_en"):
    for number, record in enumerate(json.load(open(f"{SHARED}data/sharegpt/{file}.json"))):
        turns = [m for m in record["conversations"] if m["from"] in ("human", "gpt")]
        sample = {"id": "x", "conversations": turns}
        for fastchat.max_length in (60, 100, 200, 400):
            pieces = fastchat.filter_invalid_roles(fastchat.split_one_sample(sample))
            found = [[piece["id"], len(piece["conversations"])] for piece in pieces]
            if found != [["x_0", len(turns)]]:
                rows.append([file, number, fastchat.max_length, found])
print(json.dumps(rows, separators=(",", ":")))
