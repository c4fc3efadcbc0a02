//! Perplexity in its definitions.
#![allow(clippy::unwrap_used, reason = "tests")]

use llm_eval::bench::perplexity::{harness, huggingface_strided, llama_cpp};
use llm_eval::bench::{LanguageModel, RollingBos, Span, TokenModel, TokenScore, kl};
use serde_json::Value;

use crate::data::{data, golden};
use crate::toy::Toy;

fn texts() -> Vec<String> {
    serde_json::from_slice(&std::fs::read(data("texts.json")).unwrap()).unwrap()
}

fn close(a: &Value, b: f64) {
    let a = a.as_f64().unwrap();
    assert!((a - b).abs() < 1e-9 * a.abs().max(1.0), "{a} {b}");
}

#[test]
fn rolling_perplexities_are_the_harness_s() {
    for (name, bos) in [("rolling", false), ("rolling_bos", true)] {
        let golden = &golden()[name];
        let toy = Toy::new(bos, 50);
        let got = harness(&toy, &texts(), RollingBos::Harness).unwrap();
        let results = &golden["results"]["rolling"];
        close(&results["word_perplexity,none"], got.word_perplexity);
        close(&results["byte_perplexity,none"], got.byte_perplexity);
        close(&results["bits_per_byte,none"], got.bits_per_byte);
        let calls = toy.calls.borrow();
        let expected = golden["tokens"].as_array().unwrap();
        assert_eq!(calls.len(), expected.len());
        for (call, expected) in calls.iter().zip(expected) {
            assert_eq!(serde_json::json!(call.context), expected[0]);
            assert_eq!(serde_json::json!(call.continuation), expected[1]);
        }
    }
}

#[test]
fn the_beginning_token_stands_once_unless_asked_otherwise() {
    let toy = Toy::new(true, 50);
    toy.loglikelihood_rolling(&texts(), RollingBos::Once)
        .unwrap();
    for call in toy.calls.borrow().iter() {
        assert!(!call.continuation.contains(&1));
    }
}

#[test]
fn strided_perplexity_is_that_of_transformers_documentation() {
    let toy = Toy::new(true, 1000);
    let ids = toy.encode(&texts()[3], true).unwrap();
    for (name, expected) in golden()["strided"].as_object().unwrap() {
        let (window, stride) = name.split_once(',').unwrap();
        let (window, stride) = (window.parse().unwrap(), stride.parse().unwrap());
        let got = huggingface_strided(&toy, &ids, window, stride).unwrap();
        close(&expected[1], got.tokens as f64);
        close(&expected[0], got.nll * got.tokens as f64);
    }
    assert!(huggingface_strided(&toy, &ids, 2000, 512).is_err());
    assert!(huggingface_strided(&toy, &ids, 50, 0).is_err());
    assert!(huggingface_strided(&toy, &ids[..1], 50, 20).is_err());
}

#[test]
fn chunked_perplexity_is_llama_cpp_s() {
    for (name, bos) in [("bos", true), ("none", false)] {
        let expected = &golden()["llama_cpp"][name];
        let toy = Toy::new(bos, 1000);
        let ids = toy.encode(&texts()[3], true).unwrap();
        let got = llama_cpp(&toy, &ids, 32).unwrap();
        close(&expected[0], got.nll);
        close(&expected[1], got.stderr.unwrap() / got.value);
        close(&expected[2], got.tokens as f64);
    }
    let toy = Toy::new(false, 1000);
    assert!(llama_cpp(&toy, &[3; 63], 32).is_err());
}

#[test]
fn divergence_of_two_models() {
    let ids: Vec<u32> = (3..67).collect();
    let (base, other) = (Toy::new(true, 100), Toy::new(false, 100));
    let same = kl::compare(&base, &base, &ids, 32).unwrap();
    assert_eq!(
        (same.kl.maximum, same.same_top.value, same.tokens),
        (0.0, 1.0, 30)
    );
    let got = kl::compare(&base, &other, &ids, 32).unwrap();
    let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
    assert!((got.kl.mean.value - expected).abs() < 1e-6);
    assert!((got.perplexity - 4.0).abs() < 1e-5);
    assert!((got.ln_perplexity_ratio.value - 2.0_f64.ln()).abs() < 1e-6);
}

/// Both models read a chunk in blocks when it is long: every position is compared once, with the whole of
/// what stands before it in view.
#[test]
fn long_chunks_are_compared_whole() {
    fn next(before: &[u32]) -> usize {
        (before.iter().sum::<u32>() as usize + before.len()) % 3
    }
    struct Counting;
    impl TokenModel for Counting {
        fn encode(&self, _: &str, _: bool) -> llm_eval::Result<Vec<u32>> {
            unreachable!("ids are given")
        }
        fn bos(&self) -> Option<u32> {
            None
        }
        fn prefix(&self) -> u32 {
            0
        }
        fn max_length(&self) -> usize {
            2000
        }
        fn score(&self, _: &[Span]) -> llm_eval::Result<Vec<Vec<TokenScore>>> {
            unreachable!("distributions are asked for")
        }
        /// What stands before, and how much, say which token follows, with p = 0.9.
        fn distributions(
            &self,
            ids: &[u32],
            from: usize,
            row: &mut dyn FnMut(usize, &[f32]) -> llm_eval::Result<()>,
        ) -> llm_eval::Result<()> {
            for position in from..ids.len() {
                let mut logs = [0.05_f32.ln(); 3];
                logs[next(&ids[..position])] = 0.9_f32.ln();
                row(position, &logs)?;
            }
            Ok(())
        }
    }
    let mut ids = Vec::new();
    for _ in 0..2 * 1300 {
        ids.push(next(&ids[ids.len() / 1300 * 1300..]) as u32);
    }
    let got = kl::compare(&Counting, &Counting, &ids, 1300).unwrap();
    assert_eq!(got.tokens, 2 * (1300 - 651));
    assert_eq!(got.kl.maximum, 0.0);
    assert!((got.base_perplexity - 1.0 / 0.9).abs() < 1e-6, "{got:?}");
}
