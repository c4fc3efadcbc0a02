"""How many operations a fine-tuning step needs: what "share of the matrix rate" is computed from.

The formula, in floating-point operations (a multiplication and its addition are two):

    4 · linear · tokens              forward and input gradients of the decoder's linear layers; their weights are frozen
  + 4 · vocab · hidden · supervised  the head, at the positions that carry loss, forward and input gradient
  + 14 · pairs · head_dim · heads · layers
                                     attention: 2 products forward, 5 backward, as fused kernels do that compute the scores once more

`linear` counts the parameters of q, k, v, o, gate, up and down in all layers; `pairs` are the pairs of a query and a key that
it may see, n · (n + 1) / 2 for a sequence of n tokens. Padding, whatever gradient checkpointing computes again, elementwise
operations and the adapters' own small products are not counted: they are not what the step is for. The count is therefore the
same for every system, layout and set of targets, and the shares compare.
"""
import json
import os


def read_config(model_dir):
    with open(os.path.join(model_dir, "config.json")) as file:
        return json.load(file)


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def linear_parameters(config):
    """Parameters of the decoder's linear layers, the head not among them."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    queries = heads * head_dim(config)
    keys = (config.get("num_key_value_heads") or heads) * head_dim(config)
    attention = 2 * hidden * queries + 2 * hidden * keys  # q and o, k and v
    return config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def causal_pairs(lengths):
    """Pairs of a query and a key that it may see, over sequences of these lengths."""
    return sum(n * (n + 1) // 2 for n in lengths)


def operations(config, tokens, supervised, pairs):
    """Floating-point operations of training steps with so many tokens, supervised tokens and causal pairs."""
    linear = 4 * linear_parameters(config) * tokens
    head = 4 * config["vocab_size"] * config["hidden_size"] * supervised
    per_pair = 14 * head_dim(config) * config["num_attention_heads"] * config["num_hidden_layers"]
    return linear + head + per_pair * pairs
