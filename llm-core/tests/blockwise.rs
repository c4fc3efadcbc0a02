//! Checkpointing by block against an ordinary backward.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor, TensorData};
use llm_core::{Linear, LlamaConfig, LlamaForCausalLM, LoraAdapter, TokenBatch, normal};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::support::{cpu, relative, values};

const TOLERANCE: f32 = 1e-5;

/// Loss, gradients by parameter, and where the random stream then stands.
type Outcome = (f32, BTreeMap<String, Vec<f32>>, u128);

/// Three layers, two query heads to a key head.
fn model(extra: &str) -> LlamaForCausalLM {
    of_type("llama", extra)
}

fn of_type(model_type: &str, extra: &str) -> LlamaForCausalLM {
    let json = format!(
        r#"{{"model_type": "{model_type}", "vocab_size": 50, "hidden_size": 32,
            "intermediate_size": 44, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "initializer_range": 0.3 {extra}}}"#
    );
    let config = LlamaConfig::from_json(&json).unwrap();
    LlamaForCausalLM::random(&config, 11, &cpu())
}

/// Two sequences in a row beside one that is padded.
fn batch() -> TokenBatch {
    let sequence = |start: u32, len: u32| (start..start + len).map(|id| id * 7 % 50).collect();
    let rows = [vec![sequence(1, 9), sequence(20, 6)], vec![sequence(3, 12)]];
    TokenBatch::packed(&rows, 0).unwrap()
}

fn adapter(linear: &Linear, rng: &mut ChaCha8Rng, dropout: f64) -> LoraAdapter {
    let ([d_in, d_out], r) = (linear.dims(), 4);
    let mut random = |shape: [usize; 2]| {
        let values = (0..shape[0] * shape[1]).map(|_| 0.3 * normal(rng));
        let data = TensorData::new(values.collect::<Vec<_>>(), shape);
        Param::from_tensor(Tensor::<2>::from_data(data, &cpu())).set_require_grad(true)
    };
    LoraAdapter {
        lora_a: random([r, d_in]),
        lora_b: random([d_out, r]),
        magnitude: None,
        scaling: 0.5,
        dropout,
    }
}

/// Freezes the model and puts adapters on the linear layers of decoder layers from `lowest` on.
fn adapted(model: LlamaForCausalLM, lowest: usize, dropout: f64) -> LlamaForCausalLM {
    let mut model = model.set_require_grad(false);
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let layers: Vec<String> = (lowest..3)
        .map(|layer| format!("model.layers.{layer}."))
        .collect();
    for (name, linear) in model.linears_mut() {
        if layers.iter().any(|layer| name.starts_with(layer)) {
            linear.adapter = Some(adapter(linear, &mut rng, dropout));
        }
    }
    model
}

/// Adds up gradients by parameter, and takes them out of where they are.
struct Collect<'a> {
    path: Vec<String>,
    from: &'a mut Gradients,
    to: &'a mut BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(new) = param.val().grad_remove(self.from).map(values) else {
            return;
        };
        let sum = self.to.entry(self.path.join("."));
        let sum = sum.or_insert_with(|| vec![0.0; new.len()]);
        sum.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
    }
}

fn collect(model: &LlamaForCausalLM, from: &mut Gradients, to: &mut BTreeMap<String, Vec<f32>>) {
    let path = Vec::new();
    model.visit(&mut Collect { path, from, to });
}

fn loss(model: &LlamaForCausalLM, hidden: Tensor<3>) -> Tensor<1> {
    let hidden = hidden.flatten::<2>(0, 1);
    let targets: Vec<u32> = (0..hidden.dims()[0] as u32).map(|i| i * 3 % 50).collect();
    model.loss(hidden, &targets) / targets.len() as f64
}

/// At once and by block; with the latter, how many parts the gradients came in.
fn both(model: LlamaForCausalLM, dropout: bool) -> (Outcome, Outcome, usize) {
    let model = model.train();
    let seeded = || dropout.then(|| ChaCha8Rng::seed_from_u64(8));
    let place = |rng: Option<ChaCha8Rng>| rng.map_or(0, |rng| rng.get_word_pos());

    let (mut rng, mut gradients) = (seeded(), BTreeMap::new());
    let hidden = model.hidden_states(&batch(), None, rng.as_mut()).unwrap();
    let at_once = loss(&model, hidden);
    collect(&model, &mut at_once.backward(), &mut gradients);
    let at_once = (values(at_once.inner())[0], gradients, place(rng));

    let (mut rng, mut gradients, mut parts) = (seeded(), BTreeMap::new(), 0);
    let add = |new: &mut Gradients| {
        parts += 1;
        collect(&model, new, &mut gradients);
    };
    let by_block = model
        .backward_by_block(&batch(), rng.as_mut(), |hidden| loss(&model, hidden), add)
        .unwrap();
    let by_block = (values(by_block)[0], gradients, place(rng));
    (at_once, by_block, parts)
}

/// Asserts that both ways give the same; returns the gradients and the number of parts.
fn check(model: LlamaForCausalLM, dropout: bool) -> (BTreeMap<String, Vec<f32>>, usize) {
    let ((loss, expected, place), (loss_by_block, ours, place_by_block), parts) =
        both(model, dropout);
    assert!(relative(&[loss_by_block], &[loss]) < TOLERANCE, "the loss");
    assert_eq!(place_by_block, place, "the place in the random stream");
    assert!(ours.keys().eq(expected.keys()), "{:?}", ours.keys());
    for (name, ours) in &ours {
        let off = relative(ours, &expected[name]);
        assert!(off < TOLERANCE, "gradient of {name} differs by {off}");
    }
    (ours, parts)
}

#[test]
fn all_parameters_get_the_gradients_of_an_ordinary_backward() {
    for (extra, parameters) in [
        ("", 3 + 3 * 9),
        (r#", "tie_word_embeddings": true"#, 2 + 3 * 9),
        (r#", "attention_bias": true, "mlp_bias": true"#, 3 + 3 * 16),
    ] {
        let (gradients, _) = check(model(extra).set_require_grad(true), false);
        assert_eq!(gradients.len(), parameters, "{extra}");
    }
}

#[test]
fn a_sliding_window_is_seen_by_both() {
    let mistral = |window| {
        let extra = format!(r#", "sliding_window": {window}"#);
        of_type("mistral", &extra).set_require_grad(true)
    };
    let (windowed, _) = check(mistral("4"), false);
    let (whole, _) = check(mistral("null"), false);
    assert_ne!(windowed, whole, "the window hides something");
}

#[test]
fn layers_below_the_lowest_adapter_are_left_alone() {
    for lowest in 0..3 {
        let (gradients, parts) = check(adapted(model(""), lowest, 0.0), false);
        assert_eq!(gradients.len(), (3 - lowest) * 7 * 2);
        assert_eq!(
            parts,
            1 + 3 - lowest,
            "the head and the layers from {lowest} on"
        );
    }
}

#[test]
fn dropout_draws_the_same_and_leaves_the_stream_at_the_same_place() {
    let dropped = check(adapted(model(""), 1, 0.4), true).0;
    let (again, clean) = (
        check(adapted(model(""), 1, 0.4), true).0,
        check(adapted(model(""), 1, 0.4), false).0,
    );
    assert_eq!(dropped, again);
    assert_ne!(dropped, clean, "dropout does nothing");
}

#[test]
fn a_trained_head_or_embedding_alone_gets_its_gradient() {
    let frozen = || model("").set_require_grad(false);
    let mut head = frozen();
    let linear = head.lm_head.take().unwrap();
    head.lm_head = Some(linear.set_require_grad(true));
    let (gradients, parts) = check(head, false);
    assert!(gradients.keys().eq(["lm_head.weight"]) && parts == 1);

    let mut embedding = frozen();
    let weight = embedding.model.embed_tokens.weight.clone();
    embedding.model.embed_tokens.weight = weight.set_require_grad(true);
    let (gradients, _) = check(embedding, false);
    assert!(gradients.keys().eq(["model.embed_tokens.weight"]));
}

#[test]
fn a_token_outside_the_vocabulary_is_an_error_by_block_as_well() {
    let model = model("").set_require_grad(true).train();
    let batch = TokenBatch::new(&[vec![1, 50]]).unwrap();
    let result = model.backward_by_block(&batch, None, |hidden| loss(&model, hidden), |_| ());
    assert!(result.unwrap_err().to_string().contains("50"));
}
