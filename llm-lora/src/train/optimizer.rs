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
    states: HashMap<ParamId, State>,
}

/// What is kept for one parameter, flat and in f32.
struct State {
    /// Running mean of the gradient.
    first: Tensor<1>,
    /// Running mean of its square.
    second: Tensor<1>,
    /// The parameter itself where its own type is coarser, so that small updates add up.
    master: Option<Tensor<1>>,
}

impl AdamW {
    pub(super) fn new(config: &TrainConfig) -> Self {
        Self {
            betas: config.betas,
            epsilon: config.epsilon,
            weight_decay: config.weight_decay,
            steps: 0,
            states: HashMap::new(),
        }
    }

    /// Updates every parameter that has a gradient; `clip` scales the gradients, which are f32.
    pub(super) fn step(
        &mut self,
        model: &mut LlamaForCausalLM,
        gradients: GradientsParams,
        learning_rate: f64,
        clip: f64,
    ) {
        self.steps += 1;
        let mut update = Update {
            path: Vec::new(),
            optimizer: self,
            gradients,
            learning_rate,
            clip,
        };
        *model = super::take(model).map(&mut update);
    }

    /// The new value of a flat f32 parameter.
    fn update(
        &mut self,
        state: &mut State,
        value: Tensor<1>,
        gradient: Tensor<1>,
        rates: [f64; 2],
    ) -> Tensor<1> {
        let [learning_rate, decay] = rates;
        let [beta1, beta2] = self.betas;
        state
            .first
            .inplace(|first| first * beta1 + gradient.clone() * (1.0 - beta1));
        state
            .second
            .inplace(|second| second * beta2 + gradient.square() * (1.0 - beta2));
        let [correction1, correction2] = self.betas.map(|beta| 1.0 - beta.powi(self.steps));
        let denominator = state.second.clone().sqrt() / correction2.sqrt() + self.epsilon;
        let step = state.first.clone() / denominator * (learning_rate / correction1);
        match decay == 0.0 {
            true => value - step,
            false => value * (1.0 - learning_rate * decay) - step,
        }
    }
}

struct Update<'a> {
    path: Vec<String>,
    optimizer: &'a mut AdamW,
    gradients: GradientsParams,
    learning_rate: f64,
    clip: f64,
}

impl Update<'_> {
    /// Whether weight decay applies: not to biases, nor to the weights of norms.
    fn decays(&self) -> bool {
        let [.., module, parameter] = &self.path[..] else {
            return true;
        };
        parameter != "bias" && !module.ends_with("norm")
    }
}

impl ModuleMapper for Update<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return param;
        };
        let (id, shape) = (param.id, param.lazy_shape());
        let decay = if self.decays() {
            self.optimizer.weight_decay
        } else {
            0.0
        };
        let gradient: Tensor<1> = gradient.reshape([-1]) * self.clip;
        let states = &mut self.optimizer.states;
        let mut state = states.remove(&id).unwrap_or_else(|| State {
            first: gradient.zeros_like(),
            second: gradient.zeros_like(),
            master: None,
        });
        let param = param.map(|value| {
            let value = value.inner();
            let dtype = value.dtype();
            let flat = state
                .master
                .take()
                .unwrap_or_else(|| value.cast(DType::F32).reshape([-1]));
            let rates = [self.learning_rate, decay];
            let new = self.optimizer.update(&mut state, flat, gradient, rates);
            if dtype != DType::F32 {
                state.master = Some(new.clone());
            }
            Tensor::from_inner(new.reshape(shape).cast(dtype)).require_grad()
        });
        self.optimizer.states.insert(id, state);
        param
    }
}
