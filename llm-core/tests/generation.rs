//! Batches, caches, stops.

use llm_core::{Error, GenerationConfig, KvCache, LlamaForCausalLM, TokenBatch};

use crate::support::{cpu, distance, load, own, values};

fn model() -> LlamaForCausalLM {
    load(&own("mistral_swa"))
}

#[test]
fn a_batch_gives_each_prompt_what_it_gives_alone() {
    // Dynamic RoPE goes by a sequence's length, which must be its own.
    for name in ["mistral_swa", "llama_dynamic"] {
        check_batch(&load(&own(name)));
    }
}

fn check_batch(model: &LlamaForCausalLM) {
    let prompts = vec![vec![1, 2, 3, 4, 5, 6, 7], vec![9, 8], vec![11, 12, 13, 14]];
    for temperature in [0.0, 0.9] {
        let options = GenerationConfig {
            max_new_tokens: 12,
            temperature,
            ..Default::default()
        };
        let together = model.generate_batch(&prompts, &options).unwrap();
        for (prompt, together) in prompts.iter().zip(together) {
            let alone: Vec<u32> = model
                .generate(prompt, &options)
                .unwrap()
                .map(Result::unwrap)
                .collect();
            assert_eq!(together, alone);
        }
    }
}

#[test]
fn a_stop_id_ends_its_row_only() {
    let model = model();
    let prompts = vec![vec![1, 2, 3], vec![9, 8]];
    let free = GenerationConfig {
        max_new_tokens: 8,
        ..Default::default()
    };
    let all = model.generate_batch(&prompts, &free).unwrap();
    let stop = all[0][3];
    let options = GenerationConfig {
        stop_ids: vec![stop],
        ..free
    };
    let stopped = model.generate_batch(&prompts, &options).unwrap();
    for (all, stopped) in all.iter().zip(stopped) {
        let end = all.iter().position(|id| *id == stop).unwrap_or(all.len());
        assert_eq!(stopped, all[..end]);
    }
}

#[test]
fn decoding_equals_one_forward() {
    let model = model();
    // Longer than the cache's first buffer and than a sliding window.
    let ids: Vec<u32> = (0..150).map(|i| (i * 37 + 11) % 64).collect();
    let whole = values(
        model
            .forward(&TokenBatch::new(std::slice::from_ref(&ids)).unwrap(), None)
            .unwrap(),
    );
    let mut cache = KvCache::default();
    let mut pieces = Vec::new();
    for part in [&ids[..70], &ids[70..71], &ids[71..150]] {
        let batch = TokenBatch::new(&[part.to_vec()]).unwrap();
        pieces.extend(values(model.forward(&batch, Some(&mut cache)).unwrap()));
    }
    assert_eq!(cache.len(), 150);
    assert!(distance(&whole, &pieces) < 2e-4);
}

#[test]
fn bad_input_is_an_error() {
    let model = model();
    let mut options = GenerationConfig::default();
    assert!(matches!(
        model.generate(&[], &options),
        Err(Error::Input(_))
    ));
    assert!(matches!(
        model.forward(&TokenBatch::new(&[vec![64]]).unwrap(), None),
        Err(Error::Input(_))
    ));
    assert!(matches!(
        model.generate(&[5000], &options),
        Err(Error::Input(_))
    ));
    options.top_p = 0.0;
    assert!(matches!(
        model.generate(&[1], &options),
        Err(Error::GenerationOption {
            option: "top_p",
            ..
        })
    ));
    let mut cache = KvCache::default();
    model
        .forward(&TokenBatch::new(&[vec![1]]).unwrap(), Some(&mut cache))
        .unwrap();
    let two = TokenBatch::new(&[vec![1], vec![2]]).unwrap();
    assert!(matches!(
        model.forward(&two, Some(&mut cache)),
        Err(Error::Input(_))
    ));
}

#[test]
fn the_same_seed_makes_the_same_model() {
    let config = model().config().clone();
    let weights = |seed| {
        values(
            LlamaForCausalLM::random(&config, seed, &cpu())
                .model
                .embed_tokens
                .weight
                .val(),
        )
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
}

#[test]
fn a_long_prompt_goes_through_in_pieces_as_in_one() {
    for name in ["mistral_swa", "llama_dynamic", "llama_yarn"] {
        let model = load(&own(name));
        let ids = |count: u32| (0..count).map(|i| (i * 29 + 7) % 64).collect::<Vec<u32>>();
        let prompts = vec![ids(700), ids(530)];
        let options = GenerationConfig {
            max_new_tokens: 1,
            ..Default::default()
        };
        let generated = model.generate_batch(&prompts, &options).unwrap();
        for (prompt, generated) in prompts.iter().zip(generated) {
            let batch = TokenBatch::new(std::slice::from_ref(prompt)).unwrap();
            let logits = values(model.forward(&batch, None).unwrap());
            let last = &logits[logits.len() - 64..];
            let best = last.iter().fold(f32::MIN, |best, logit| best.max(*logit));
            assert!(last[generated[0] as usize] > best - 1e-3, "{name}");
        }
    }
}

#[test]
fn packed_rows_of_unequal_length_do_not_disturb_each_other() {
    for name in ["llama_dynamic", "mistral_swa"] {
        let model = load(&own(name));
        let (a, b, c) = (vec![5, 6, 7], vec![8, 9], (0..40).collect::<Vec<u32>>());
        let packed = TokenBatch::packed(&[vec![a.clone(), b], vec![a.clone()]], 0).unwrap();
        let logits = values(model.forward(&packed, None).unwrap());
        let alone = values(
            model
                .forward(&TokenBatch::new(&[a]).unwrap(), None)
                .unwrap(),
        );
        assert!(distance(&logits[..alone.len()], &alone) < 2e-4);
        assert!(distance(&logits[5 * 64..5 * 64 + alone.len()], &alone) < 2e-4);
        assert!(TokenBatch::packed(&[vec![c]], 0).is_ok());
    }
}

#[test]
fn a_cache_refuses_what_it_would_get_wrong() {
    let model = model();
    let refused = |batch: TokenBatch, cache: &mut KvCache| {
        matches!(model.forward(&batch, Some(cache)), Err(Error::Input(_)))
    };
    let rows = [vec![1, 2, 3], vec![4]];
    assert!(refused(
        TokenBatch::right_padded(&rows, 0).unwrap(),
        &mut KvCache::default()
    ));
    let packed = TokenBatch::packed(&[vec![vec![1], vec![2]]], 0).unwrap();
    assert!(refused(packed, &mut KvCache::default()));
    let mut cache = KvCache::default();
    model
        .forward(
            &TokenBatch::left_padded(&rows, 0).unwrap(),
            Some(&mut cache),
        )
        .unwrap();
    assert!(refused(
        TokenBatch::left_padded(&rows, 0).unwrap(),
        &mut cache
    ));
    let other = load(&own("llama_yarn"));
    let two = TokenBatch::new(&[vec![1], vec![2]]).unwrap();
    assert!(matches!(
        other.forward(&two, Some(&mut cache)),
        Err(Error::Input(_))
    ));
}
