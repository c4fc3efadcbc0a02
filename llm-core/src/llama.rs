//! The whole model, top to bottom: embedding, decoder layers (attention, MLP), norm, head.
//!
//! Source: `modeling_llama.py` of transformers 5.23; Mistral, Qwen 2 and Qwen 3 differ by fields of
//! [`LlamaConfig`]. Struct fields carry the checkpoint's names, so that loading needs no table.

use burn::module::{Initializer, Module, Param};
use burn::tensor::module::embedding;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use crate::device::is_cpu;
use crate::ops::{self, Visible, Want, Weight};
use crate::{Error, KvCache, Linear, LlamaConfig, Result, TokenBatch};

/// A decoder with its language-model head.
///
/// ```
/// use llm_core::{LlamaConfig, LlamaForCausalLM, TokenBatch, open_device};
///
/// let config = LlamaConfig::from_json(r#"{
///     "model_type": "llama", "vocab_size": 256, "hidden_size": 64, "intermediate_size": 112,
///     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2
/// }"#)?;
/// let model = LlamaForCausalLM::random(&config, 42, &open_device("cpu")?);
/// let logits = model.forward(&TokenBatch::new(&[vec![1, 2, 3]])?, None)?;
/// assert_eq!(logits.dims(), [1, 3, 256]);
/// # Ok::<(), llm_core::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct LlamaForCausalLM {
    /// Everything below the head.
    pub model: LlamaModel,
    /// The head; `None` where the embedding's weight serves (`tie_word_embeddings`).
    pub lm_head: Option<Linear>,
    #[module(skip)]
    config: LlamaConfig,
}

/// Embedding, layers, final norm.
#[derive(Module, Debug)]
pub struct LlamaModel {
    /// Token embedding.
    pub embed_tokens: Embedding,
    /// Decoder layers, first to last.
    pub layers: Vec<DecoderLayer>,
    /// The norm behind the last layer.
    pub norm: RmsNorm,
}

/// `[vocab_size, hidden_size]`, a row for each token.
#[derive(Module, Debug)]
pub struct Embedding {
    /// `[vocab_size, hidden_size]`.
    pub weight: Param<Tensor<2>>,
}

/// `x / √(mean(x²) + ε) · weight` over the last dimension.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Self-attention.
    pub self_attn: Attention,
    /// Feed-forward layer.
    pub mlp: Mlp,
    /// The norm before attention.
    pub input_layernorm: RmsNorm,
    /// The norm before the feed-forward layer.
    pub post_attention_layernorm: RmsNorm,
}

/// Causal self-attention with grouped queries and rotary positions.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries: `hidden_size → num_attention_heads · head_dim`.
    pub q_proj: Linear,
    /// Keys: `hidden_size → num_key_value_heads · head_dim`.
    pub k_proj: Linear,
    /// Values: `hidden_size → num_key_value_heads · head_dim`.
    pub v_proj: Linear,
    /// Output: `num_attention_heads · head_dim → hidden_size`.
    pub o_proj: Linear,
    /// Qwen 3's norm of each query head.
    pub q_norm: Option<RmsNorm>,
    /// Qwen 3's norm of each key head.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    head_dim: usize,
    #[module(skip)]
    layer: usize,
    #[module(skip)]
    windowed: bool,
}

/// SwiGLU: `down(silu(gate(x)) · up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `hidden_size → intermediate_size`, through SiLU.
    pub gate_proj: Linear,
    /// `hidden_size → intermediate_size`.
    pub up_proj: Linear,
    /// `intermediate_size → hidden_size`.
    pub down_proj: Linear,
}

/// What all layers of one forward share.
pub(crate) struct Pass<'a> {
    /// cos and sin of every token's angles, `[batch, seq, 1, head_dim / 2]`.
    pub(crate) rope: [Tensor<4>; 2],
    visible: Visible,
    /// In layers with a sliding window.
    visible_in_window: Visible,
    cache: Option<&'a mut KvCache>,
    /// Where dropout draws from, in training.
    pub(crate) rng: Option<ChaCha8Rng>,
}

impl LlamaForCausalLM {
    /// A model of zeros (norms of ones) whose tensors are allocated when they are first used:
    /// what a checkpoint is loaded into.
    pub fn new(config: &LlamaConfig, device: &Device) -> Self {
        let layers = 0..config.num_hidden_layers;
        let head = || Linear::new(config.hidden_size, config.vocab_size, false, device);
        Self {
            model: LlamaModel {
                embed_tokens: Embedding {
                    weight: Initializer::Zeros
                        .init([config.vocab_size, config.hidden_size], device),
                },
                layers: layers
                    .map(|layer| DecoderLayer::new(config, layer, device))
                    .collect(),
                norm: RmsNorm::new(config.hidden_size, config.rms_norm_eps, device),
            },
            lm_head: (!config.tie_word_embeddings).then(head),
            config: config.clone(),
        }
    }

    /// What the model was made from.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Where the model's weights are.
    pub fn device(&self) -> Device {
        self.model.norm.weight.lazy_device()
    }

    /// Logits `[batch, seq, vocab]` of every token of `batch`. With a cache, the batch continues
    /// what the cache holds, and is added to it.
    ///
    /// # Errors
    /// When a token id is not in the vocabulary, or the cache holds another number of rows.
    pub fn forward(&self, batch: &TokenBatch, cache: Option<&mut KvCache>) -> Result<Tensor<3>> {
        Ok(self.logits(self.hidden_states(batch, cache, None)?))
    }

    /// The final hidden states `[batch, seq, hidden_size]`, behind the last norm. With `rng`,
    /// dropout is active: the forward of training.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn hidden_states(
        &self,
        batch: &TokenBatch,
        mut cache: Option<&mut KvCache>,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Tensor<3>> {
        self.check(batch, cache.as_deref())?;
        let past = cache.as_deref();
        let positions =
            past.map_or_else(|| batch.positions().to_vec(), |past| past.positions(batch));
        let mut x = self.model.embed_tokens.forward(batch);
        let mut pass = self.pass(batch, past, &positions, &x);
        pass.cache = cache.as_deref_mut();
        pass.rng = rng.as_deref().cloned();
        for layer in &self.model.layers {
            x = layer.forward(x, &mut pass);
        }
        if let (Some(rng), Some(moved)) = (rng, pass.rng) {
            *rng = moved;
        }
        if let Some(cache) = cache {
            cache.advance(batch, &positions);
        }
        Ok(self.model.norm.forward(x))
    }

    /// What the layers share in a forward of `batch`, whose embedding is `x`.
    pub(crate) fn pass(
        &self,
        batch: &TokenBatch,
        past: Option<&KvCache>,
        positions: &[i32],
        x: &Tensor<3>,
    ) -> Pass<'static> {
        let device = x.device();
        let windowed = self
            .config
            .sliding_window
            .filter(|_| self.config.windowed_layers.contains(&true));
        let visible = Visible::new(batch, past, None, &device);
        let options = (&device, x.dtype());
        Pass {
            rope: self.rope(positions, batch.dims(), past.is_some(), options),
            visible_in_window: match windowed {
                Some(_) => Visible::new(batch, past, windowed, &device),
                None => visible.clone(),
            },
            visible,
            cache: None,
            rng: None,
        }
    }

    /// The head: hidden states `[.., hidden_size]` to logits `[.., vocab]`.
    pub fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        match &self.lm_head {
            Some(head) => head.forward(hidden, None),
            None => {
                let weight = Weight::Dense(self.model.embed_tokens.weight.val());
                ops::linear(hidden, weight, Want::Output)
            }
        }
    }

    /// The loss `[1]` of hidden states `[tokens, hidden_size]`, each of which shall predict its target:
    /// `Σ −log p(target)`, in f32. The logits of all tokens never exist together, unless the head has an
    /// adapter.
    pub fn loss(&self, hidden: Tensor<2>, targets: &[u32]) -> Tensor<1> {
        let weight = match &self.lm_head {
            Some(head) => match head.plain_weight() {
                Some(weight) => weight,
                None => return ops::cross_entropy_sum(self.logits(hidden), targets),
            },
            None => self.model.embed_tokens.weight.val(),
        };
        ops::linear_cross_entropy(hidden, weight, targets)
    }

    /// Gives a model with a tied head a head of its own, equal at first.
    pub fn untie(&mut self) {
        if self.lm_head.is_none() {
            let mut head = Linear::new(
                self.config.hidden_size,
                self.config.vocab_size,
                false,
                &self.device(),
            );
            let weight = self.model.embed_tokens.weight.val();
            head.weight = Some(Param::from_tensor(weight.detach()).no_grad());
            self.lm_head = Some(head);
            self.config.tie_word_embeddings = false;
        }
    }

    /// Lets the embedding serve as head again, whatever has become of the head.
    pub fn tie(&mut self) {
        self.lm_head = None;
        self.config.tie_word_embeddings = true;
    }

    /// Makes quantised weights dense, in f32.
    ///
    /// # Errors
    /// When a device fails to hand a weight out.
    pub fn dequantize(&mut self) -> Result<()> {
        let linears = self.linears_mut();
        linears
            .into_iter()
            .try_for_each(|(_, linear)| linear.dequantize())
    }

    /// Every linear layer with its Hugging Face name (`model.layers.0.self_attn.q_proj`, …).
    pub fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let mut linears = Vec::new();
        for (index, layer) in self.model.layers.iter_mut().enumerate() {
            let (attention, mlp) = (&mut layer.self_attn, &mut layer.mlp);
            let mut push =
                |name: &str, linear| linears.push((format!("model.layers.{index}.{name}"), linear));
            push("self_attn.q_proj", &mut attention.q_proj);
            push("self_attn.k_proj", &mut attention.k_proj);
            push("self_attn.v_proj", &mut attention.v_proj);
            push("self_attn.o_proj", &mut attention.o_proj);
            push("mlp.gate_proj", &mut mlp.gate_proj);
            push("mlp.up_proj", &mut mlp.up_proj);
            push("mlp.down_proj", &mut mlp.down_proj);
        }
        linears.extend(
            self.lm_head
                .iter_mut()
                .map(|head| ("lm_head".to_owned(), head)),
        );
        linears
    }

    /// Refuses what would be out of bounds, or wrong without an error.
    pub(crate) fn check(&self, batch: &TokenBatch, cache: Option<&KvCache>) -> Result<()> {
        let vocab = self.config.vocab_size;
        if let Some(id) = batch.ids().iter().find(|id| **id as usize >= vocab) {
            return Err(Error::Input(format!(
                "token id {id} in a vocabulary of {vocab}"
            )));
        }
        let Some(cache) = cache else {
            return Ok(());
        };
        if !batch.is_one_sequence_a_row() || !cache.takes(batch) {
            let reason = "a cache takes one sequence a row, padded at the left";
            return Err(Error::Input(reason.to_owned()));
        }
        let shape = [
            self.model.layers.len(),
            self.config.num_key_value_heads,
            self.config.head_dim,
        ];
        if cache.shape().is_some_and(|cached| cached != shape) {
            return Err(Error::Input("the cache is another model's".to_owned()));
        }
        let [rows, _] = batch.dims();
        match cache.batch_size() {
            Some(cached) if cached != rows => Err(Error::Input(format!(
                "{rows} rows behind a cache of {cached} rows"
            ))),
            _ => Ok(()),
        }
    }

    /// cos and sin of every token's angles. Dynamic scaling goes by the longest sequence of the batch,
    /// as in transformers; behind a cache by each row's own, so that generation gives every row what
    /// it gives alone.
    fn rope(
        &self,
        positions: &[i32],
        dims: [usize; 2],
        by_row: bool,
        options: (&Device, DType),
    ) -> [Tensor<4>; 2] {
        let [rows, seq] = dims;
        let config = &self.config;
        let mut angles = Vec::with_capacity(positions.len() * config.head_dim / 2);
        let mut factor = 1.0;
        for positions in positions.chunks(if by_row { seq } else { rows * seq }) {
            let longest = positions.iter().max().map_or(0, |last| *last as usize + 1);
            let (head_dim, context) = (config.head_dim, config.max_position_embeddings);
            let (frequencies, scale) = config.rope.frequencies(head_dim, context, longest);
            factor = scale;
            for position in positions {
                angles.extend(frequencies.iter().map(|f| *position as f32 * f));
            }
        }
        [f32::cos, f32::sin].map(|function| {
            let values = angles
                .iter()
                .map(|angle| function(*angle) * factor)
                .collect();
            let data = TensorData::new(values, [rows, seq, 1, config.head_dim / 2]);
            Tensor::from_data(data.convert_dtype(options.1), options)
        })
    }
}

impl Embedding {
    /// The rows of the batch's tokens, `[batch, seq, hidden_size]`. On the CPU activations are f32,
    /// whatever the weights are.
    pub(crate) fn forward(&self, batch: &TokenBatch) -> Tensor<3> {
        let weight = self.weight.val();
        let device = weight.device();
        let ids = TensorData::new(batch.ids().to_vec(), batch.dims());
        let x = embedding(weight, Tensor::<2, Int>::from_data(ids, &device));
        match is_cpu(&device) {
            true => x.cast(DType::F32),
            false => x,
        }
    }
}

impl RmsNorm {
    fn new(width: usize, eps: f64, device: &Device) -> Self {
        Self {
            weight: Initializer::Ones.init([width], device),
            eps,
        }
    }

    /// `[.., width]` to `[.., width]`; the mean is taken in f32.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        ops::rms_norm(x, self.weight.val(), self.eps)
    }
}

impl DecoderLayer {
    fn new(config: &LlamaConfig, layer: usize, device: &Device) -> Self {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = || RmsNorm::new(hidden, config.rms_norm_eps, device);
        let linear = |d_in, d_out| Linear::new(d_in, d_out, config.mlp_bias, device);
        Self {
            self_attn: Attention::new(config, layer, device),
            mlp: Mlp {
                gate_proj: linear(hidden, inner),
                up_proj: linear(hidden, inner),
                down_proj: linear(inner, hidden),
            },
            input_layernorm: norm(),
            post_attention_layernorm: norm(),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let (x, y) = self.summands(x, pass, Want::Output);
        x + y
    }

    /// What the layer adds up: its input with the attention's output, and the MLP's output, whose last
    /// product is left out unless it is wanted.
    pub(crate) fn summands(
        &self,
        x: Tensor<3>,
        pass: &mut Pass,
        last: Want,
    ) -> (Tensor<3>, Tensor<3>) {
        let normed = self.input_layernorm.forward(x.clone());
        let x = x + self.self_attn.forward(normed, pass);
        let normed = self.post_attention_layernorm.forward(x.clone());
        let y = self.mlp.forward(normed, pass, last);
        (x, y)
    }
}

impl Attention {
    fn new(config: &LlamaConfig, layer: usize, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let norm = || RmsNorm::new(config.head_dim, config.rms_norm_eps, device);
        Self {
            q_proj: Linear::new(hidden, queries, config.qkv_bias, device),
            k_proj: Linear::new(hidden, keys, config.qkv_bias, device),
            v_proj: Linear::new(hidden, keys, config.qkv_bias, device),
            o_proj: Linear::new(queries, hidden, config.o_bias, device),
            q_norm: config.qk_norm.then(norm),
            k_norm: config.qk_norm.then(norm),
            head_dim: config.head_dim,
            layer,
            windowed: config.window(layer).is_some(),
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &mut Pass) -> Tensor<3> {
        let [batch, seq, _] = x.dims();
        let mut project = |proj: &Linear| {
            let y = proj.forward(x.clone(), pass.rng.as_mut()); // [batch, seq, heads * head_dim]
            let heads = y.dims()[2] / self.head_dim;
            y.reshape([batch, seq, heads, self.head_dim])
        };
        let (q, k, v) = (
            project(&self.q_proj),
            project(&self.k_proj),
            project(&self.v_proj),
        );
        let normed = |x: Tensor<4>, norm: &Option<RmsNorm>| match norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        let q = ops::rotate(normed(q, &self.q_norm), &pass.rope);
        let k = ops::rotate(normed(k, &self.k_norm), &pass.rope);
        let (k, v) = match &mut pass.cache {
            Some(cache) => cache.append(self.layer, k, v), // [batch, past + seq, kv_heads, head_dim]
            None => (k, v),
        };
        let visible = if self.windowed {
            &pass.visible_in_window
        } else {
            &pass.visible
        };
        let y = ops::attention(q, k, v, visible); // [batch, seq, heads, head_dim]
        let y = y.flatten::<3>(2, 3); // [batch, seq, heads * head_dim]
        self.o_proj.forward(y, pass.rng.as_mut())
    }
}

impl Mlp {
    fn forward(&self, x: Tensor<3>, pass: &mut Pass, last: Want) -> Tensor<3> {
        let gate = self.gate_proj.forward(x.clone(), pass.rng.as_mut());
        let up = self.up_proj.forward(x, pass.rng.as_mut());
        self.down_proj
            .forward_for(last, ops::swiglu(gate, up), pass.rng.as_mut())
    }
}
