//! The parts of a `tokenizer.json`, read so strictly that what is not known exactly is none.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use crate::bytelevel::bpe::Bpe;
use crate::bytelevel::split::Step;

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Normalizer {
    #[serde(rename = "NFC")]
    Nfc,
}

#[derive(Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum PreTokenizer {
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    Digits {
        individual_digits: bool,
    },
    Split {
        pattern: Pattern,
        behavior: String,
        invert: bool,
    },
    ByteLevel {
        add_prefix_space: bool,
        #[serde(rename = "trim_offsets")]
        _trim_offsets: bool,
        #[serde(default = "crate::yes")]
        use_regex: bool,
    },
}

#[derive(Deserialize)]
enum Pattern {
    Regex(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model<'a> {
    r#type: &'a str,
    dropout: Option<f64>,
    unk_token: Option<&'a str>,
    continuing_subword_prefix: Option<&'a str>,
    end_of_word_suffix: Option<&'a str>,
    byte_fallback: Option<bool>,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: Option<bool>,
    ignore_merges: Option<bool>,
    #[serde(borrow)]
    vocab: HashMap<&'a str, u32>,
    #[serde(borrow)]
    merges: Merges<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Merges<'a> {
    #[serde(borrow)]
    Pairs(Vec<(&'a str, &'a str)>),
    #[serde(borrow)]
    Lines(Vec<&'a str>),
}

/// Whether texts are brought into normal form C.
pub(super) fn normalizer(json: &Value) -> Option<bool> {
    match Option::<Normalizer>::deserialize(json).ok()? {
        None => Some(false),
        Some(Normalizer::Nfc) => Some(true),
    }
}

/// How texts are split, and whether a space is put before them.
pub(super) fn pre_tokenizer(json: &Value) -> Option<(Vec<Step>, bool)> {
    let mut parts = match PreTokenizer::deserialize(json).ok()? {
        PreTokenizer::Sequence { pretokenizers } => pretokenizers,
        part => vec![part],
    };
    let Some(PreTokenizer::ByteLevel {
        add_prefix_space,
        use_regex,
        ..
    }) = parts.pop()
    else {
        return None;
    };
    // Behind other parts each of theirs would get a space.
    if add_prefix_space && !parts.is_empty() {
        return None;
    }
    let step = |part: PreTokenizer| match part {
        PreTokenizer::Digits { individual_digits } => Some(Step::Digits {
            individual: individual_digits,
        }),
        PreTokenizer::Split {
            pattern: Pattern::Regex(pattern),
            behavior,
            invert: false,
        } if behavior == "Isolated" => Step::of_pattern(&pattern),
        _ => None,
    };
    let mut steps = parts.into_iter().map(step).collect::<Option<Vec<_>>>()?;
    steps.extend(use_regex.then_some(Step::Gpt2));
    Some((steps, add_prefix_space))
}

/// Makes sure that nothing is done to a sequence but putting special tokens around it.
pub(super) fn post_processor(json: &Value) -> Option<()> {
    match json["type"].as_str() {
        None => json.is_null().then_some(()),
        Some("ByteLevel" | "BertProcessing" | "RobertaProcessing") => Some(()),
        Some("TemplateProcessing") => {
            let parts = json["single"].as_array()?.iter();
            let sequences = parts.filter(|part| part.get("SpecialToken").is_none());
            (sequences.count() == 1).then_some(())
        }
        Some("Sequence") => {
            let mut parts = json["processors"].as_array()?.iter();
            parts.try_for_each(post_processor)
        }
        Some(_) => None,
    }
}

/// The model, where it is BPE over bytes.
pub(super) fn model(json: &Value) -> Option<Bpe> {
    let model = Model::deserialize(json).ok()?;
    let affixes = [model.continuing_subword_prefix, model.end_of_word_suffix];
    let affixed = affixes.iter().flatten().any(|affix| !affix.is_empty());
    if model.r#type != "BPE" || model.dropout.is_some() || affixed {
        return None;
    }
    let ids: HashSet<u32> = model.vocab.values().copied().collect();
    if ids.len() < model.vocab.len() {
        return None;
    }
    let id = |token: &str| model.vocab.get(token).copied();
    let letters = letters();
    let bytes = letters.map(|letter| id(letter.encode_utf8(&mut [0; 4])));
    let unknown = model.unk_token.is_some() || model.byte_fallback == Some(true);
    if unknown && bytes.contains(&None) {
        return None;
    }
    let merge = |(left, right): (&str, &str)| {
        let both = id(&format!("{left}{right}"))?;
        Some([id(left)?, id(right)?, both])
    };
    let merges: Option<Vec<_>> = match &model.merges {
        Merges::Pairs(pairs) => pairs.iter().copied().map(merge).collect(),
        Merges::Lines(lines) => {
            let lines = lines.iter().filter(|line| !line.starts_with("#version"));
            lines.map(|line| merge(line.split_once(' ')?)).collect()
        }
    };
    let whole = match model.ignore_merges {
        Some(true) => whole(&model.vocab, &letters),
        _ => HashMap::new(),
    };
    Some(Bpe::new(bytes, &merges?, whole))
}

/// The tokens that are the letters of bytes, with those bytes.
fn whole(vocab: &HashMap<&str, u32>, letters: &[char; 256]) -> HashMap<Vec<u8>, u32> {
    let byte: HashMap<char, u8> = letters.iter().copied().zip(0..=255).collect();
    let bytes = |token: &str| -> Option<Vec<u8>> {
        let bytes = token.chars().map(|c| byte.get(&c).copied());
        bytes.collect()
    };
    let tokens = vocab.iter();
    tokens
        .filter_map(|(token, &id)| Some((bytes(token)?, id)))
        .collect()
}

/// How vocabularies spell bytes: those that are printable in Latin-1 as themselves, the others from
/// U+0100 on (GPT-2, `bytes_to_unicode`).
pub(super) fn letters() -> [char; 256] {
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| {
        let letter = char::from(byte as u8);
        match letter {
            '!'..='~' | '¡'..='¬' | '®'..='ÿ' => letter,
            _ => others.next().unwrap_or(letter),
        }
    })
}
