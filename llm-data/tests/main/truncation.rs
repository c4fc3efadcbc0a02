//! What is cut when a record is too long, and that it is said.

use llm_data::{AlpacaRecord, EncodeOptions, Encoded, Error, IGNORE_INDEX, Template};
use proptest::prelude::*;

use crate::common::{encoder, long, record, shared_tokenizer, tiny};

fn options(max_seq_len: usize) -> EncodeOptions {
    EncodeOptions {
        max_seq_len,
        ..long()
    }
}

/// The record as it was shortened.
fn shortened(record: &AlpacaRecord, encoded: &Encoded) -> AlpacaRecord {
    let mut record = record.clone();
    record.history.drain(..encoded.truncation.history_turns);
    // White space alone is no input: nothing is cut from it.
    if record.input.trim().is_empty() {
        record.input.clear();
    }
    for _ in 0..encoded.truncation.user_chars {
        if record.input.pop().is_none() {
            record.instruction.pop();
        }
    }
    record
}

#[test]
fn a_sample_that_fits_is_not_touched_and_its_trailing_newline_is_no_cut() {
    let tokenizer = tiny();
    let record = record("q", "", "a");
    let whole = encoder(&tokenizer, "chatml", long())
        .encode(&record)
        .unwrap()
        .sample;
    let length = whole.input_ids.len();
    let exact = encoder(&tokenizer, "chatml", options(length))
        .encode(&record)
        .unwrap();
    assert_eq!(
        (&exact.sample, exact.truncation),
        (&whole, Default::default())
    );
    // One token less: the newline after the end token goes, which is nobody's word.
    let shorter = encoder(&tokenizer, "chatml", options(length - 1))
        .encode(&record)
        .unwrap();
    assert_eq!(shorter.truncation, Default::default());
    assert_eq!(shorter.sample.input_ids, whole.input_ids[..length - 1]);
    assert_eq!(shorter.sample.input_ids.last(), Some(&4));
}

#[test]
fn the_oldest_history_goes_first() {
    let tokenizer = tiny();
    let turn = |name: &str| (name.repeat(20), name.repeat(20));
    let record = AlpacaRecord {
        history: vec![turn("x"), turn("y"), turn("z")],
        ..record("q", "", "a")
    };
    let one_left = AlpacaRecord {
        history: vec![turn("z")],
        ..record.clone()
    };
    let encoded_left = encoder(&tokenizer, "alpaca", long())
        .encode(&one_left)
        .unwrap()
        .sample;
    let limit = options(encoded_left.input_ids.len() + 3);
    let encoded = encoder(&tokenizer, "alpaca", limit)
        .encode(&record)
        .unwrap();
    assert_eq!(encoded.truncation.history_turns, 2);
    assert_eq!(
        (
            encoded.truncation.user_chars,
            encoded.truncation.answer_tokens
        ),
        (0, 0)
    );
    assert_eq!(encoded.sample, encoded_left);
}

#[test]
fn a_long_question_is_shortened_and_the_answer_keeps_its_end() {
    let tokenizer = tiny();
    let record = record("summarise", &"x".repeat(500), "short");
    let encoded = encoder(&tokenizer, "alpaca-lora", options(300))
        .encode(&record)
        .unwrap();
    assert!(encoded.truncation.user_chars > 0);
    assert_eq!(encoded.truncation.answer_tokens, 0);
    let sample = &encoded.sample;
    assert_eq!(
        (sample.input_ids.len(), sample.input_ids.last()),
        (300, Some(&2))
    );
    let text = tokenizer.decode(&sample.input_ids, false).unwrap();
    assert!(
        text.contains("summarise") && text.contains("xxx\n\n### Response:\nshort</s>"),
        "{text}"
    );
}

#[test]
fn an_answer_that_is_too_long_loses_its_end_and_is_counted() {
    let tokenizer = tiny();
    let record = record("q", "", &"a".repeat(500));
    let encoder = encoder(&tokenizer, "chatml", options(100));
    let encoded = encoder.encode(&record).unwrap();
    assert_eq!(encoded.truncation.user_chars, 0);
    assert_eq!(encoded.sample.input_ids.len(), 100);
    assert_ne!(encoded.sample.input_ids.last(), Some(&4));
    let prompt = encoder.record_prompt(&record).unwrap().len();
    assert_eq!(encoded.truncation.answer_tokens, 500 + 1 - (100 - prompt));
    let set = encoder.encode_all(&[record]).unwrap();
    assert_eq!(set.statistics.cut.answer, 1);
}

#[test]
fn both_sides_share_when_both_are_long() {
    let tokenizer = tiny();
    let encoder = encoder(&tokenizer, "chatml", options(240));
    let encoded = encoder
        .encode(&record(&"q".repeat(600), "", &"a".repeat(300)))
        .unwrap();
    let supervised = encoded.sample.supervised_tokens();
    let template = encoder.record_prompt(&record("", "", "")).unwrap().len();
    // The answer has 301 of the 901 tokens that want room, and gets that share of it.
    assert_eq!(supervised, (240 - template) * 301 / 901);
    assert!(encoded.truncation.user_chars > 0 && encoded.truncation.answer_tokens > 0);
}

#[test]
fn a_template_that_does_not_fit_is_an_error() {
    let tokenizer = tiny();
    let record = record(&"q".repeat(100), "", "a");
    for limit in [1, 10, 30] {
        let error = encoder(&tokenizer, "alpaca", options(limit))
            .encode(&record)
            .unwrap_err();
        assert!(matches!(error, Error::DoesNotFit { max_seq_len, .. } if max_seq_len == limit));
    }
}

#[test]
fn shortened_samples_keep_the_rule_for_every_template_and_length() {
    let tokenizers: Vec<_> = ["smollm2", "llama2_spm"]
        .into_iter()
        .filter_map(shared_tokenizer)
        .chain([tiny()])
        .collect();
    let text = || "[ -~你好😀\n]{1,60}";
    let turns = proptest::collection::vec((text(), text()), 0..3);
    proptest!(|(instruction in text(), input in "[ -~]{0,40}", output in text(), history in turns, limit in 20_usize..200)| {
        let record = AlpacaRecord { history, ..record(&instruction, &input, &output) };
        prop_assume!(!output.trim().is_empty());
        for tokenizer in &tokenizers {
            for name in Template::NAMES.iter().filter(|&&name| name != "model" || tokenizer.chat_template().is_some()) {
                let encoder = encoder(tokenizer, name, options(limit));
                let encoded = match encoder.encode(&record) {
                    Ok(encoded) => encoded,
                    Err(Error::DoesNotFit { .. }) => continue,
                    Err(error) => panic!("{error}"),
                };
                let Encoded { sample, truncation } = &encoded;
                prop_assert!(sample.input_ids.len() <= limit);
                let shortened = shortened(&record, &encoded);
                let whole = crate::common::encoder(tokenizer, name, long()).encode(&shortened).unwrap().sample;
                prop_assert_eq!(&sample.input_ids[..], &whole.input_ids[..sample.input_ids.len()]);
                prop_assert_eq!(&sample.labels[..], &whole.labels[..sample.input_ids.len()]);
                let prompt = encoder.record_prompt(&shortened).unwrap();
                prop_assert!(sample.input_ids.starts_with(&prompt));
                prop_assert_ne!(sample.labels[prompt.len()], IGNORE_INDEX);
                if truncation.answer_tokens == 0 {
                    prop_assert_eq!(sample.supervised_tokens(), whole.supervised_tokens());
                }
            }
        }
    });
}
