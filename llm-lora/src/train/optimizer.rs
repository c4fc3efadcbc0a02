//! AdamW.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use llm_core::LlamaForCausalLM;

use super::TrainConfig;

/// AdamW (Loshchilov and Hutter 2017, <https://arxiv.org/abs/1711.05101>) with the arithmetic of
/// `torch.optim.AdamW`. Norms and biases are not decayed, as in transformers' trainer.
pub(super) struct AdamW {
    betas: [f64; 2],
    epsilon: f64,
    weight_decay: f64,
    steps: i32,
    moments: HashMap<ParamId, Moments>,
}

/// Running means of the gradient and of its square, flat, f32.
struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

impl AdamW {
    pub(super) fn new(config: &TrainConfig) -> Self {
        Self {
            betas: config.betas,
            epsilon: config.epsilon,
            weight_decay: config.weight_decay,
            steps: 0,
            moments: HashMap::new(),
        }
    }

    /// Updates every parameter that has a gradient; `clip` scales the gradients.
    pub(super) fn step(
        &mut self,
        model: LlamaForCausalLM,
        gradients: GradientsParams,
        learning_rate: f64,
        clip: f64,
    ) -> LlamaForCausalLM {
        self.steps += 1;
        model.map(&mut Update {
            optimizer: self,
            gradients,
            learning_rate,
            clip,
        })
    }

    /// The new value of a flat parameter.
    fn update(
        &mut self,
        id: ParamId,
        value: Tensor<1>,
        gradient: Tensor<1>,
        rates: [f64; 2],
    ) -> Tensor<1> {
        let [learning_rate, decay] = rates;
        let [beta1, beta2] = self.betas;
        let moments = match self.moments.remove(&id) {
            Some(Moments { first, second }) => Moments {
                first: first * beta1 + gradient.clone() * (1.0 - beta1),
                second: second * beta2 + gradient.square() * (1.0 - beta2),
            },
            None => Moments {
                first: gradient.clone() * (1.0 - beta1),
                second: gradient.square() * (1.0 - beta2),
            },
        };
        let [correction1, correction2] = self.betas.map(|beta| 1.0 - beta.powi(self.steps));
        let denominator = moments.second.clone().sqrt() / correction2.sqrt() + self.epsilon;
        let step = moments.first.clone() / denominator * (learning_rate / correction1);
        self.moments.insert(id, moments);
        match decay == 0.0 {
            true => value - step,
            false => value * (1.0 - learning_rate * decay) - step,
        }
    }
}

struct Update<'a> {
    optimizer: &'a mut AdamW,
    gradients: GradientsParams,
    learning_rate: f64,
    clip: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let (id, shape) = (param.id, param.lazy_shape());
        let decay = if D > 1 {
            self.optimizer.weight_decay
        } else {
            0.0
        };
        let gradient = gradient.cast(DType::F32).reshape([-1]) * self.clip;
        param.map(|value| {
            let dtype = value.dtype();
            let flat = value.inner().cast(DType::F32).reshape([-1]);
            let new = self
                .optimizer
                .update(id, flat, gradient, [self.learning_rate, decay]);
            Tensor::from_inner(new.reshape(shape).cast(dtype)).require_grad()
        })
    }
}
