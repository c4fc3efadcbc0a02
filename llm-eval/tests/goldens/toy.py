"""A language model that is a function of token ids: the same as `Toy` in tests/main/toy.rs."""

import re

from lm_eval import utils
from lm_eval.api.model import TemplateLM

PIECE = re.compile(r" ?[A-Za-z0-9]+|.", re.DOTALL)
BOS, EOS = 1, 2
MASK = (1 << 64) - 1


def piece_id(piece):
    h = 0x811C9DC5
    for byte in piece.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h % 50000 + 3


def mix(h, token):
    for byte in token.to_bytes(4, "little"):
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def token_scores(ids):
    """(log p, whether greedy) of every token of `ids` but the first."""
    h, out = 0xCBF29CE484222325, []
    for i, token in enumerate(ids):
        h = mix(h, token)
        if i > 0:
            out.append((-((h >> 11) % 1_000_000) / 100_000 - 1e-5, h % 3 == 0))
    return out


class Toy(TemplateLM):
    def __init__(self, bos, max_length, answer=None):
        super().__init__()
        self.bos, self.max_length, self.answer = bos, max_length, answer
        self.calls, self.raw = [], {}

    @property
    def eot_token_id(self):
        return EOS

    @property
    def prefix_token_id(self):
        return BOS if self.bos else EOS

    def tok_encode(self, string, add_special_tokens=None, **kwargs):
        # As HFLM.tok_encode: no second BOS where the text brings one.
        add = self.bos if add_special_tokens is None else add_special_tokens and self.bos
        ids = []
        if self.bos and string.startswith("<s>"):
            string, ids = string[3:], [BOS]
        elif add:
            ids = [BOS]
        return ids + [piece_id(p) for p in PIECE.findall(string)]

    def _loglikelihood_tokens(self, requests, **kwargs):
        res = []
        for pair, context, continuation in requests:
            # From HFLM._loglikelihood_tokens.
            inp = (context + continuation)[-(self.max_length + 1) :][:-1]
            scores = token_scores(inp + continuation[-1:])[-len(continuation) :]
            answer = (sum(s for s, _ in scores), all(g for _, g in scores))
            res.append(answer)
            self.calls.append((pair, context, continuation, answer))
        return res

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        out = []
        for request in requests:
            (string,) = request.args
            # From HFLM.loglikelihood_rolling.
            windows = list(
                map(
                    utils.make_disjoint_window,
                    utils.get_rolling_token_windows(
                        token_list=self.tok_encode(string),
                        prefix_token=self.prefix_token_id,
                        max_seq_len=self.max_length,
                        context_len=1,
                    ),
                )
            )
            scored = self._loglikelihood_tokens([(None,) + w for w in windows])
            out.append(sum(s for s, _ in scored))
        return out

    def generate_until(self, requests, disable_tqdm=False):
        from lm_eval.models.utils import postprocess_generated_text

        out = []
        for request in requests:
            context, kwargs = request.args
            self.raw[context] = self.answer(context, request.doc)
            until = kwargs["until"] + ["</s>"]
            out.append(postprocess_generated_text(self.raw[context], until, None))
        return out
