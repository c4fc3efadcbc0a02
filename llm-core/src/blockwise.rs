//! Checkpointing by block: a backward that keeps of every decoder layer only what goes into it.
//!
//! Source: Chen et al. 2016 (<https://arxiv.org/abs/1604.06174>), with one block a layer.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::ops::{Want, carry};
use crate::{LlamaForCausalLM, Result, TokenBatch};

impl LlamaForCausalLM {
    /// Forward and backward of `batch` in one. The forward runs without a graph and keeps the input of
    /// every layer; the backward then runs the layers once more, one at a time, last to first, each but
    /// for its last product, and stops below the lowest layer that is trained.
    ///
    /// `loss` turns the final hidden states `[batch, seq, hidden_size]` into `[1]`, which is returned.
    /// `on_gradients` hears of the gradients part by part. With `rng`, dropout is active.
    ///
    /// The model must be on a differentiating device. Gradients equal those of an ordinary backward.
    ///
    /// # Errors
    /// When a token id is not in the vocabulary.
    pub fn backward_by_block(
        &self,
        batch: &TokenBatch,
        rng: Option<&mut ChaCha8Rng>,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        mut on_gradients: impl FnMut(&mut Gradients),
    ) -> Result<Tensor<1>> {
        self.check(batch, None)?;
        let plain = self.valid();
        let mut x = plain.model.embed_tokens.forward(batch);
        let mut pass = plain.pass(batch, None, batch.positions(), &x);
        pass.rng = rng.as_deref().cloned();
        let mut blocks = Vec::with_capacity(self.model.layers.len());
        for layer in &plain.model.layers {
            blocks.push((x.clone(), pass.rng.clone()));
            x = layer.forward(x, &mut pass);
        }
        if let (Some(rng), Some(moved)) = (rng, &pass.rng) {
            rng.clone_from(moved);
        }

        let top = Tensor::from_inner(x).require_grad();
        let loss = loss(self.model.norm.forward(top.clone()));
        let value = loss.clone().inner();
        let mut gradients = loss.backward();
        let mut gradient = top.grad_remove(&mut gradients);
        on_gradients(&mut gradients);

        pass.rope = pass.rope.map(Tensor::from_inner);
        let embedding_trained = trains(&self.model.embed_tokens);
        let lowest = self.model.layers.iter().position(trains);
        let lowest = if embedding_trained { Some(0) } else { lowest };
        let layers = self.model.layers.iter().enumerate();
        for ((index, layer), (input, rng)) in layers.zip(blocks).rev() {
            let Some(known) = gradient
                .take()
                .filter(|_| lowest.is_some_and(|lowest| index >= lowest))
            else {
                break;
            };
            let input = Tensor::from_inner(input);
            let wanted = embedding_trained || Some(index) > lowest;
            let input = if wanted { input.require_grad() } else { input };
            pass.rng = rng;
            let (x, y) = layer.summands(input.clone(), &mut pass, Want::Gradients);
            let mut gradients = (carry(x, known.clone()) + carry(y, known)).backward();
            if wanted {
                gradient = input.grad_remove(&mut gradients);
            }
            on_gradients(&mut gradients);
        }
        if let Some(known) = gradient.filter(|_| embedding_trained) {
            let x = self.model.embed_tokens.forward(batch);
            on_gradients(&mut carry(x, known).backward());
        }
        Ok(value)
    }
}

/// Whether any parameter of a module requires gradients.
fn trains<M: Module>(module: &M) -> bool {
    struct Any(bool);

    impl ModuleVisitor for Any {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_require_grad();
        }
    }

    let mut any = Any(false);
    module.visit(&mut any);
    any.0
}
