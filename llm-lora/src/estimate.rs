//! What a run will train and take, worked out before the first weight is read.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use llm_core::quant::{QuantFormat, Quantization};
use llm_core::{LlamaConfig, LlamaForCausalLM, is_cpu};
use llm_data::{Sample, Samples};
use serde::Serialize;

use crate::track_path::track_path;
use crate::{Adapter, LoraConfig, Result, TrainConfig};

/// A run in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Parameters of the base.
    pub base_parameters: u64,
    /// Values that are trained.
    pub trained_parameters: u64,
    /// Values that are not.
    pub frozen_parameters: u64,
    /// Training samples; those that are encoded so far where `all_samples` is false.
    pub samples: usize,
    /// Whether these are all. If not, tokens are reckoned as if the others were like them, and `epochs` are
    /// passes over so many samples.
    pub all_samples: bool,
    /// Validation samples.
    pub validation_samples: usize,
    /// Optimizer steps.
    pub steps: usize,
    /// Passes over the training samples; the last one may not be whole.
    pub epochs: f64,
    /// Tokens of all steps, padding not counted.
    pub tokens: u64,
    /// Of these, those that carry loss.
    pub supervised_tokens: u64,
    /// Memory.
    pub memory: Memory,
}

/// The most memory of a run at any moment, by what it is for, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The base's weights, quantised or not.
    pub weights: u64,
    /// The adapter.
    pub adapter: u64,
    /// Two moments, and the new values beside the old ones.
    pub optimizer: u64,
    /// Gradients of the trained parameters.
    pub gradients: u64,
    /// What a forward keeps for its backward.
    pub activations: u64,
    /// Logits and their gradient, of the supervised tokens that are computed together.
    pub logits: u64,
    /// The program, its threads, and buffers of the kernels.
    pub program: u64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights
            + self.adapter
            + self.optimizer
            + self.gradients
            + self.activations
            + self.logits
            + self.program
    }
}

impl Estimate {
    /// Of training `model`, which need not be loaded, with an adapter or in full, on `samples` and a
    /// validation set. `dtype` is that of the weights.
    ///
    /// Memory is that of the CPU's kernels, whose estimate is within 15 % of what was measured
    /// (docs/benchmarks.md); other devices keep more of a forward.
    ///
    /// # Errors
    /// When the adapter's configuration is refused.
    pub fn new(
        mut model: LlamaForCausalLM,
        dtype: DType,
        quantization: Option<Quantization>,
        lora: Option<LoraConfig>,
        (samples, validation): (&dyn Samples, &[Sample]),
        config: &TrainConfig,
    ) -> Result<Self> {
        let on_cpu = is_cpu(&model.device());
        let adapter = lora
            .map(|lora| Adapter::sketch(&mut model, lora))
            .transpose()?;
        let mut count = Count {
            path: Vec::new(),
            adapter: adapter.as_ref(),
            dtype,
            quantization,
            on_cpu,
            trained: 0,
            frozen: 0,
            weights: 0,
            adapters: 0,
        };
        model.visit(&mut count);
        let ready = samples.wait_for(config.window())?;
        let (mut tokens, mut supervised) = (0, 0);
        for index in 0..ready.count {
            let sample = samples.get(index)?;
            tokens += sample.input_ids.len() as u64;
            supervised += sample.supervised_tokens() as u64;
        }
        let epochs = config.epochs(ready.count);
        let over_epochs = |sum: u64| (sum as f64 * epochs) as u64;
        let forward = Forward::new(&model, adapter.as_ref(), samples, config)?;
        Ok(Self {
            base_parameters: count.trained + count.frozen - count.adapters / 4,
            trained_parameters: count.trained,
            frozen_parameters: count.frozen,
            samples: ready.count,
            all_samples: ready.all,
            validation_samples: validation.len(),
            steps: config.total_steps(ready.count),
            epochs,
            tokens: over_epochs(tokens),
            supervised_tokens: over_epochs(supervised),
            memory: Memory {
                weights: count.weights,
                adapter: count.adapters,
                optimizer: 12 * count.trained,
                gradients: 4 * count.trained,
                activations: forward.activations(),
                logits: forward.logits(),
                program: forward.program(),
            },
        })
    }
}

/// Whether a parameter is one of those that are quantised.
fn is_quantized(name: &str) -> bool {
    name.ends_with("_proj.weight")
}

/// The bytes of a quantised weight: codes and scales.
fn quantized_bytes(how: Quantization, values: u64) -> u64 {
    let blocks = values / 64;
    match (how.format, how.double) {
        (QuantFormat::Int8, _) => values,
        (_, true) => values / 2 + blocks + blocks / 64,
        (_, false) => values / 2 + 4 * blocks,
    }
}

/// Counts parameters and their bytes.
struct Count<'a> {
    path: Vec<String>,
    adapter: Option<&'a Adapter>,
    dtype: DType,
    quantization: Option<Quantization>,
    on_cpu: bool,
    trained: u64,
    frozen: u64,
    weights: u64,
    adapters: u64,
}

impl Count<'_> {
    /// The bytes of a parameter of the base.
    fn bytes(&self, name: &str, values: u64, dimensions: usize) -> u64 {
        match self.quantization {
            Some(how) if is_quantized(name) => quantized_bytes(how, values),
            // On the CPU only matrices are in half precision.
            _ if dimensions == 1 && self.on_cpu => 4 * values,
            _ => self.dtype.size() as u64 * values,
        }
    }
}

impl ModuleVisitor for Count<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let values = param.lazy_shape().num_elements() as u64;
        match self.adapter.is_none_or(|adapter| adapter.trains(&name)) {
            true => self.trained += values,
            false => self.frozen += values,
        }
        match name.contains(".adapter.") {
            true => self.adapters += 4 * values,
            false => self.weights += self.bytes(&name, values, D),
        }
    }
}

/// The largest forward of a run.
struct Forward<'a> {
    model: &'a LlamaConfig,
    /// Tokens, padding included.
    tokens: u64,
    /// Of these, those that carry loss.
    supervised: u64,
    /// Floats that a token leaves in all layers together, and in the one that leaves most.
    kept: [u64; 2],
    checkpointing: bool,
}

impl<'a> Forward<'a> {
    fn new(
        model: &'a LlamaForCausalLM,
        adapter: Option<&Adapter>,
        samples: &dyn Samples,
        config: &TrainConfig,
    ) -> Result<Self> {
        let [tokens, supervised] = config.largest_forward(model, samples)?;
        let sizes = model.config();
        let layers = (0..sizes.num_hidden_layers).map(|layer| kept(sizes, layer, adapter));
        let lowest = (0..sizes.num_hidden_layers).find(|layer| {
            adapter.is_none_or(|adapter| adapter.trains_in(&format!("model.layers.{layer}.")))
        });
        // Nothing is kept below the lowest layer that is trained.
        let layers: Vec<u64> = layers
            .skip(lowest.unwrap_or(sizes.num_hidden_layers))
            .collect();
        Ok(Self {
            model: sizes,
            tokens: tokens as u64,
            supervised: supervised as u64,
            kept: [
                layers.iter().sum(),
                layers.iter().copied().max().unwrap_or(0),
            ],
            checkpointing: config.gradient_checkpointing,
        })
    }

    fn activations(&self) -> u64 {
        let hidden = self.model.hidden_size as u64;
        let layers = self.model.num_hidden_layers as u64;
        let [all, most] = self.kept;
        let kept = match self.checkpointing {
            true => layers * hidden + most,
            false => all,
        };
        // Beside that the gradients of the layer whose turn it is.
        let gradients = 3 * self.model.intermediate_size as u64 + 4 * hidden;
        4 * self.tokens * (kept + gradients)
    }

    fn logits(&self) -> u64 {
        /// What the loss computes at once; see `ops/cpu/loss.rs` of llm-core.
        const MOST: u64 = 64 << 20;
        let all = 4 * self.supervised * self.model.vocab_size as u64;
        all.min(MOST)
    }

    fn program(&self) -> u64 {
        /// Code, threads, and the buffers in which products are made.
        const FIXED: u64 = 40 << 20;
        /// The tokenizer's tables.
        const OF_A_TOKEN: u64 = 700;
        FIXED + OF_A_TOKEN * self.model.vocab_size as u64
    }
}

/// The floats that a token leaves in a decoder layer for the backward: what the kernels' backward steps
/// keep (`ops/cpu/gradients.rs` of llm-core).
fn kept(sizes: &LlamaConfig, layer: usize, adapter: Option<&Adapter>) -> u64 {
    let (hidden, inner) = (sizes.hidden_size, sizes.intermediate_size);
    let (q, kv) = (
        sizes.num_attention_heads * sizes.head_dim,
        sizes.num_key_value_heads * sizes.head_dim,
    );
    let trains = |modules: &[&str]| {
        let trains = |module: &&str| {
            let path = format!("model.layers.{layer}.{module}");
            adapter.is_none_or(|adapter| adapter.trains_in(&path))
        };
        modules.iter().any(trains)
    };
    let attention = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
    // The two norms' inputs; q, k, v and the output of attention; gate and up.
    let mut floats = 2 * hidden + 2 * q + 2 * kv + 2 * inner;
    // A layer keeps its input where it is trained itself.
    floats += if trains(&attention) { hidden } else { 0 };
    floats += if trains(&["mlp.gate_proj", "mlp.up_proj"]) {
        hidden
    } else {
        0
    };
    floats += if trains(&["mlp.down_proj"]) { inner } else { 0 };
    if adapter.is_some_and(|adapter| adapter.config().use_dora) {
        // No kernel: what each step of the composition makes is kept.
        let layers = [
            ("self_attn.q_proj", hidden, q),
            ("self_attn.k_proj", hidden, kv),
            ("self_attn.v_proj", hidden, kv),
            ("self_attn.o_proj", q, hidden),
            ("mlp.gate_proj", hidden, inner),
            ("mlp.up_proj", hidden, inner),
            ("mlp.down_proj", inner, hidden),
        ];
        let adapted = layers.iter().filter(|(module, ..)| trains(&[module]));
        floats += adapted
            .map(|(_, d_in, d_out)| d_in + 3 * d_out)
            .sum::<usize>();
    }
    floats as u64
}

impl fmt::Display for Estimate {
    /// A small table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.trained_parameters + self.frozen_parameters;
        let share = 100.0 * self.trained_parameters as f64 / all.max(1) as f64;
        let (trained, frozen) = (self.trained_parameters, self.frozen_parameters);
        writeln!(
            f,
            "parameters  {trained} trained ({share:.2} %), {frozen} frozen"
        )?;
        writeln!(
            f,
            "steps       {} ({:.2} epochs of {} samples{}, {} held out)",
            self.steps,
            self.epochs,
            self.samples,
            if self.all_samples {
                ""
            } else {
                " encoded so far"
            },
            self.validation_samples
        )?;
        writeln!(
            f,
            "tokens      {} in all steps, {} supervised",
            self.tokens, self.supervised_tokens
        )?;
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let memory = &self.memory;
        write!(
            f,
            "memory      about {} MiB: weights {}, adapter {}, optimizer {}, gradients {}, activations {}, \
             logits {}, program {}",
            mib(memory.total()),
            mib(memory.weights),
            mib(memory.adapter),
            mib(memory.optimizer),
            mib(memory.gradients),
            mib(memory.activations),
            mib(memory.logits),
            mib(memory.program),
        )
    }
}
