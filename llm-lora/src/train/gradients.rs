//! Gradients of all parameters together.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Gradients, Tensor};
use llm_core::LlamaForCausalLM;

/// The gradient of each parameter, flat and in f32.
pub(super) type Sums = HashMap<ParamId, Tensor<1>>;

/// Adds what a backward found to `sums`, and takes it out of there.
pub(super) fn accumulate(model: &LlamaForCausalLM, new: &mut Gradients, sums: &mut Sums) {
    model.visit(&mut Accumulate { new, sums });
}

struct Accumulate<'a> {
    new: &'a mut Gradients,
    sums: &'a mut Sums,
}

impl ModuleVisitor for Accumulate<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let Some(new) = param.val().grad_remove(self.new) else {
            return;
        };
        let new = new.cast(DType::F32).reshape([-1]);
        let sum = match self.sums.remove(&param.id) {
            Some(sum) => sum + new,
            None => new,
        };
        self.sums.insert(param.id, sum);
    }
}

/// The Euclidean norm over all of them, `[1]`.
pub(super) fn norm(gradients: &[Tensor<1>]) -> Option<Tensor<1>> {
    let squares = gradients.iter().map(|flat| flat.clone().square().sum());
    squares.reduce(|a, b| a + b).map(Tensor::sqrt)
}
