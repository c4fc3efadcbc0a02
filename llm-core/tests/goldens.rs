//! Logits, gradients and greedy ids against transformers.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Int, Tensor, TensorData};
use llm_core::{GenerationConfig, LlamaConfig, LlamaForCausalLM, TokenBatch};

use crate::support::{Golden, distance, load, own, relative, shared, values};

const LOGITS: f32 = 2e-4;
const GRADIENTS: f32 = 1e-4;

const FIXTURES: [&str; 6] = [
    "llama1_mha",
    "llama2_gqa",
    "llama3_gqa_rope",
    "llama_tied",
    "llama_linear_rope",
    "qwen2_bias",
];

/// Made by `goldens/gen_goldens.py`.
const OWN: [&str; 9] = [
    "mistral_swa",
    "qwen3_qknorm",
    "qwen2_swa",
    "qwen2_bias_tied",
    "llama_yarn",
    "llama_yarn_mscale",
    "llama_dynamic",
    "llama3_rope",
    "llama_bias",
];

fn check(dir: &Path) {
    let model = load(dir);
    let golden = Golden::open(dir.join("golden.safetensors"));
    let batch = TokenBatch::new(&golden.rows("input_ids")).unwrap();
    let logits = values(model.forward(&batch, None).unwrap());
    let off = distance(&logits, &golden.floats("logits"));
    assert!(off < LOGITS, "{}: logits differ by {off}", dir.display());
    check_padding(&model, &golden, dir);
    if golden.has("packed_input_ids") {
        check_packing(&model, &golden, dir);
    }
    let prompt: Vec<u32> = golden
        .ints("prompt_ids")
        .iter()
        .map(|id| *id as u32)
        .collect();
    let expected: Vec<u32> = golden
        .ints("greedy_ids")
        .iter()
        .map(|id| *id as u32)
        .collect();
    let options = GenerationConfig {
        max_new_tokens: expected.len(),
        ..Default::default()
    };
    let ids: Vec<u32> = model
        .generate(&prompt, &options)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(ids, expected, "{}: greedy ids", dir.display());
}

/// Rows of unequal length, filled up at the left.
fn check_padding(model: &LlamaForCausalLM, golden: &Golden, dir: &Path) {
    let mask = golden.rows("pad_mask");
    let rows: Vec<Vec<u32>> = golden
        .rows("pad_input_ids")
        .iter()
        .zip(&mask)
        .map(|(ids, mask)| {
            ids.iter()
                .zip(mask)
                .filter(|(_, m)| **m == 1)
                .map(|(id, _)| *id)
                .collect()
        })
        .collect();
    let batch = TokenBatch::left_padded(&rows, 0).unwrap();
    let ours = values(model.forward(&batch, None).unwrap());
    let theirs = golden.floats("pad_logits");
    let vocab = model.config().vocab_size;
    for (index, real) in mask
        .concat()
        .iter()
        .enumerate()
        .filter(|(_, real)| **real == 1)
    {
        let token = index * vocab..(index + 1) * vocab;
        let off = distance(&ours[token.clone()], &theirs[token]);
        assert!(
            off < LOGITS,
            "{}: padded token {index} ({real}) differs by {off}",
            dir.display()
        );
    }
}

/// Sequences packed into one row, against each of them alone.
fn check_packing(model: &LlamaForCausalLM, golden: &Golden, dir: &Path) {
    let ids = &golden.rows("packed_input_ids")[0];
    let segments = &golden.rows("packed_segment_ids")[0];
    let sequences: Vec<Vec<u32>> = segments
        .chunk_by(|a, b| a == b)
        .scan(0, |start, segment| {
            let sequence = ids[*start..*start + segment.len()].to_vec();
            *start += segment.len();
            Some(sequence)
        })
        .collect();
    assert!(sequences.len() > 1);
    let batch = TokenBatch::packed(&[sequences], 0).unwrap();
    let off = distance(
        &values(model.forward(&batch, None).unwrap()),
        &golden.floats("packed_logits"),
    );
    assert!(
        off < LOGITS,
        "{}: packed logits differ by {off}",
        dir.display()
    );
}

#[test]
fn fixtures_of_transformers() {
    for name in FIXTURES {
        let Some(dir) = shared(&format!("fixtures/tiny_models/{name}")) else {
            return;
        };
        check(&dir);
        let v4 = LlamaConfig::from_file(dir.join("config.json")).unwrap();
        let v5 = LlamaConfig::from_file(dir.join("config.v5.json")).unwrap();
        assert_eq!(v4, v5, "{name}: transformers 4 and 5");
    }
}

#[test]
fn families_without_a_fixture() {
    for name in OWN {
        let dir = own(name);
        check(&dir);
        let v4 = LlamaConfig::from_file(dir.join("config.json")).unwrap();
        let v5 = LlamaConfig::from_file(dir.join("config.v5.json")).unwrap();
        assert_eq!(v4, v5, "{name}: transformers 4 and 5");
        let grads = Golden::open(dir.join("golden.safetensors"));
        check_gradients(&dir, &grads, |parameter| format!("grad.{parameter}"));
    }
}

#[test]
fn shards_load_like_one_file() {
    let Some(dir) = shared("fixtures/tiny_models/llama2_gqa_sharded") else {
        return;
    };
    let Some(golden) = shared("fixtures/tiny_models/llama2_gqa/golden.safetensors") else {
        return;
    };
    let golden = Golden::open(golden);
    let batch = TokenBatch::new(&golden.rows("input_ids")).unwrap();
    let logits = values(load(&dir).forward(&batch, None).unwrap());
    assert!(distance(&logits, &golden.floats("logits")) < LOGITS);
}

#[test]
fn gradient_of_every_parameter() {
    let Some(dir) = shared("fixtures/tiny_models/llama2_gqa") else {
        return;
    };
    let grads = Golden::open(dir.join("grads.safetensors"));
    check_gradients(&dir, &grads, str::to_owned);
}

fn check_gradients(dir: &Path, grads: &Golden, key: impl Fn(&str) -> String) {
    let golden = Golden::open(dir.join("golden.safetensors"));
    let model = load(dir).set_require_grad(true).train();
    let rows = golden.rows("input_ids");
    let hidden = model
        .hidden_states(&TokenBatch::new(&rows).unwrap(), None, None)
        .unwrap();
    let [_, seq, width] = hidden.dims();
    // Position t predicts label t + 1.
    let labels = golden.ints("labels");
    let (at, targets): (Vec<i32>, Vec<u32>) = (0..labels.len())
        .filter(|i| i % seq + 1 < seq && labels[i + 1] >= 0)
        .map(|i| (i as i32, labels[i + 1] as u32))
        .unzip();
    let count = at.len();
    let ints =
        |v: Vec<i32>| Tensor::<1, Int>::from_data(TensorData::new(v, [count]), &model.device());
    let hidden = hidden
        .reshape([rows.len() * seq, width])
        .select(0, ints(at));
    let loss = model.loss(hidden, &targets) / count as f64;
    assert!(
        distance(&values(loss.clone()), &golden.floats("loss")) < 1e-5,
        "{}",
        dir.display()
    );
    let grads_of = loss.backward();
    let mut check = Check {
        path: vec![],
        ours: &grads_of,
        theirs: grads,
        key: &key,
        seen: 0,
    };
    model.visit(&mut check);
    let expected = grads
        .names()
        .iter()
        .filter(|name| **name == key(name.trim_start_matches("grad.")))
        .count();
    assert_eq!(check.seen, expected, "{}", dir.display());
}

struct Check<'a> {
    path: Vec<String>,
    ours: &'a Gradients,
    theirs: &'a Golden,
    key: &'a dyn Fn(&str) -> String,
    seen: usize,
}

impl ModuleVisitor for Check<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let ours = values(
            param
                .val()
                .grad(self.ours)
                .unwrap_or_else(|| panic!("{name}")),
        );
        let off = relative(&ours, &self.theirs.floats(&(self.key)(&name)));
        assert!(off < GRADIENTS, "gradient of {name} differs by {off}");
        self.seen += 1;
    }
}
