//! A small random model of `llm-core`'s. To run: `--features local,llm-core/cpu`.
#![allow(clippy::unwrap_used, reason = "tests")]

use llm_core::{LlamaConfig, LlamaForCausalLM, open_device};
use llm_data::Tokenizer;
use llm_eval::bench::{Generation, LanguageModel, Span, TokenModel, kl};
use llm_eval::{LocalModel, LocalOptions};

use crate::data::shared;

fn model(name: &str, batch_tokens: usize) -> Option<LocalModel> {
    let tokenizer = Tokenizer::from_dir(shared(&format!("fixtures/tokenizers/{name}"))?).unwrap();
    let json = format!(
        r#"{{"model_type": "llama", "vocab_size": {}, "hidden_size": 32, "intermediate_size": 44,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "max_position_embeddings": 128, "initializer_range": 0.3}}"#,
        tokenizer.vocab_size()
    );
    let config = LlamaConfig::from_json(&json).unwrap();
    let llama = LlamaForCausalLM::random(&config, 11, &open_device("cpu").unwrap());
    let options = LocalOptions {
        batch_tokens,
        max_length: None,
    };
    Some(LocalModel::new(name, llama, tokenizer, options).unwrap())
}

fn pairs() -> Vec<(String, String)> {
    let context = |n: usize| format!("{}Answer:", "A question. ".repeat(n));
    let letters = [" A", " B", " C", " D"];
    let mut pairs = Vec::new();
    for n in [1, 7, 40] {
        pairs.extend(letters.map(|letter| (context(n), letter.to_owned())));
    }
    pairs.push((
        context(2),
        " a longer continuation of several tokens".to_owned(),
    ));
    pairs.push((String::new(), "no context".to_owned()));
    pairs
}

#[test]
fn batches_score_as_single_sequences_do() {
    let (Some(batched), Some(single)) = (model("llama2_spm", 300), model("llama2_spm", 1)) else {
        return;
    };
    let all = batched.loglikelihood(&pairs()).unwrap();
    for (pair, expected) in pairs().iter().zip(&all) {
        let got = single.loglikelihood(std::slice::from_ref(pair)).unwrap()[0];
        assert!(
            (got.sum - expected.sum).abs() < 1e-4,
            "{pair:?}: {got:?} {expected:?}"
        );
        assert_eq!(got.greedy, expected.greedy, "{pair:?}");
    }
}

#[test]
fn scores_are_those_of_the_whole_distribution() {
    let Some(model) = model("smollm2", 4096) else {
        return;
    };
    let ids = model
        .encode("Some text that goes on for a while.", true)
        .unwrap();
    let span = Span {
        context: ids[..2].to_vec(),
        continuation: ids[2..].to_vec(),
    };
    let scores = model.score(&[span]).unwrap().remove(0);
    let mut position = 2;
    model
        .distributions(&ids, 2, &mut |at, row| {
            assert_eq!(at, position);
            let total: f64 = row.iter().map(|log| f64::from(*log).exp()).sum();
            assert!((total - 1.0).abs() < 1e-4);
            let got = f64::from(row[ids[at] as usize]);
            assert!((got - scores[at - 2].log_prob).abs() < 1e-4);
            position += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(position, ids.len());
    let long = ids.repeat(20);
    let same = kl::compare(&model, &model, &long, 32).unwrap();
    assert!(same.kl.maximum.abs() < 1e-6);
}

#[test]
fn the_beginning_token_stands_once() {
    let Some(model) = model("llama2_spm", 4096) else {
        return;
    };
    let bos = model.bos().unwrap();
    let ids = model.encode("Question", true).unwrap();
    assert_eq!(ids.iter().filter(|id| **id == bos).count(), 1);
    assert!(!model.encode("Question", false).unwrap().contains(&bos));
}

#[test]
fn generation_ends_at_stop_texts_and_does_not_depend_on_the_batch() {
    let (Some(batched), Some(single)) = (model("smollm2", 4096), model("smollm2", 1)) else {
        return;
    };
    let request = |n: usize, until: Vec<String>| Generation {
        context: "The answer is ".repeat(n),
        until,
        max_tokens: 20,
    };
    let free: Vec<_> = [1, 5, 60].map(|n| request(n, Vec::new())).to_vec();
    let texts = batched.generate(&free).unwrap();
    for (request, text) in free.iter().zip(&texts) {
        assert_eq!(
            single.generate(std::slice::from_ref(request)).unwrap(),
            std::slice::from_ref(text)
        );
    }
    // A piece from the middle of what is generated ends it there.
    let text = texts[1].clone().unwrap();
    let chars: Vec<char> = text.chars().collect();
    let stop: String = chars[chars.len() / 2..].iter().take(3).collect();
    let stopped = batched.generate(&[request(5, vec![stop.clone()])]).unwrap();
    let end = text.find(&stop).unwrap();
    assert_eq!(stopped[0].as_deref(), Some(&text[..end]));
}
