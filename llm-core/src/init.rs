//! Fresh weights.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{LlamaConfig, LlamaForCausalLM};

/// The ChaCha stream of weight initialisation; other purposes have streams of their own.
const STREAM: u64 = u64::from_be_bytes(*b"weights\0");

impl LlamaForCausalLM {
    /// A model with fresh f32 weights: matrices normal with standard deviation
    /// `initializer_range`, norms 1, biases 0. The same seed gives the same weights everywhere.
    pub fn random(config: &LlamaConfig, seed: u64, device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let std = config.initializer_range as f32;
        Self::new(config, device).map(&mut Randomise { rng, std })
    }
}

struct Randomise {
    rng: ChaCha8Rng,
    std: f32,
}

impl ModuleMapper for Randomise {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D < 2 {
            return param;
        }
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        let values = (0..shape.num_elements())
            .map(|_| self.std * normal(&mut self.rng))
            .collect();
        let data = TensorData::new::<f32, _>(values, shape);
        let id = param.id;
        param.transform_for_load(Tensor::from_data(data, (&device, DType::F32)), id)
    }
}

/// A standard normal number (Box and Muller 1958).
pub fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = 2.0 * std::f64::consts::PI * rng.random::<f64>();
    (radius * angle.cos()) as f32
}
