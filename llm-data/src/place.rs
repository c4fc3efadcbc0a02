//! Where a text stands in the sequence, and the space that tokenizers put before it.

use serde_json::Value;

/// Where a text stands in the sequence, which decides about the space that SentencePiece-like
/// tokenizers put before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the sequence's beginning.
    Start,
    /// Right after a special token.
    AfterSpecial,
    /// After other text.
    Middle,
}

/// Edits a `tokenizer.json` so that text at `place` gets no space in front; whether it had to.
pub(crate) fn drop_prefix(json: &mut Value, place: Place) -> bool {
    let mut changed = false;
    if place == Place::Middle
        && let Some(normalizer) = json.get_mut("normalizer")
    {
        changed |= drop_prepend(normalizer);
    }
    if let Some(pre_tokenizer) = json.get_mut("pre_tokenizer") {
        changed |= drop_prefix_space(pre_tokenizer, place);
    }
    changed
}

fn drop_prepend(normalizer: &mut Value) -> bool {
    if normalizer["type"] == "Prepend" {
        *normalizer = Value::Null;
        return true;
    }
    let Some(steps) = normalizer
        .get_mut("normalizers")
        .and_then(Value::as_array_mut)
    else {
        return false;
    };
    let mut changed = false;
    for step in steps.iter_mut() {
        changed |= drop_prepend(step);
    }
    steps.retain(|step| !step.is_null());
    changed
}

fn drop_prefix_space(pre_tokenizer: &mut Value, place: Place) -> bool {
    let kind = pre_tokenizer["type"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let scheme = pre_tokenizer["prepend_scheme"].as_str();
    match kind.as_str() {
        "Sequence" => {
            let steps = pre_tokenizer
                .get_mut("pretokenizers")
                .and_then(Value::as_array_mut);
            steps.into_iter().flatten().fold(false, |changed, step| {
                drop_prefix_space(step, place) | changed
            })
        }
        // `first` means the first of the sequence, so after a special token there is no space
        // either; `always` means every text between special tokens.
        "Metaspace" if place == Place::Middle || scheme == Some("first") => {
            let changed = scheme != Some("never");
            pre_tokenizer["prepend_scheme"] = "never".into();
            pre_tokenizer["add_prefix_space"] = false.into();
            changed
        }
        "ByteLevel" if place == Place::Middle => {
            let changed = pre_tokenizer["add_prefix_space"] == true;
            pre_tokenizer["add_prefix_space"] = false.into();
            changed
        }
        _ => false,
    }
}
