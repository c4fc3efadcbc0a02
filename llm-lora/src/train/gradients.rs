//! Gradients of all parameters together.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Gradients, Tensor};
use llm_core::LlamaForCausalLM;

/// The number of values that require gradients.
pub(super) fn trainable(model: &LlamaForCausalLM) -> usize {
    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

struct Count(usize);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.0 += param.lazy_shape().num_elements();
        }
    }
}

/// Adds the gradients of a backward, in f32, to those of earlier ones.
pub(super) fn accumulate(
    model: &LlamaForCausalLM,
    new: &mut Gradients,
    gradients: &mut GradientsParams,
) {
    model.visit(&mut Accumulate { new, gradients });
}

struct Accumulate<'a> {
    new: &'a mut Gradients,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Accumulate<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let Some(new) = param.val().grad_remove(self.new) else {
            return;
        };
        let new = new.cast(DType::F32);
        let sum = match self.gradients.remove::<D>(param.id) {
            Some(sum) => sum + new,
            None => new,
        };
        self.gradients.register(param.id, sum);
    }
}

/// The Euclidean norm over all parameters, `[1]`.
pub(super) fn norm(model: &LlamaForCausalLM, gradients: &GradientsParams) -> Tensor<1> {
    let zero = Tensor::zeros([1], (&model.device().inner(), DType::F32));
    let mut squares = Squares {
        gradients,
        sum: zero,
    };
    model.visit(&mut squares);
    squares.sum.sqrt()
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Tensor<1>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = self.sum.clone() + square;
        }
    }
}
