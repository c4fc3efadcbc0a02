//! The linear layer with a low-rank adapter: `y = x·Wᵀ + s·(x'·Aᵀ)·Bᵀ`, where `x'` is `x` under dropout.

use std::borrow::Cow;

use super::super::Dropout;
use super::matrix::Matrix;
use super::product::{Rows, Term, add_product, product, product_into};

/// A layer: the frozen weight `[out, in]`, and whether products with it may round to bf16.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) weight: Matrix<'a>,
    pub(super) bf16: bool,
}

/// An adapter's matrices `A` `[r, in]` and `B` `[out, r]`.
#[derive(Clone, Copy)]
pub(super) struct Branch<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
    pub(super) scaling: f64,
    pub(super) dropout: Option<&'a Dropout>,
}

impl Layer<'_> {
    fn dims(&self) -> [usize; 2] {
        let [d_out, d_in] = self.weight.shape;
        [d_in, d_out]
    }

    /// `x·Wᵀ`.
    pub(super) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut y = Vec::new();
        self.forward_into(&mut y, x);
        y
    }

    /// As [`forward`](Self::forward), in the memory of `y`.
    pub(super) fn forward_into(&self, y: &mut Vec<f32>, x: &[f32]) {
        let [d_in, d_out] = self.dims();
        product_into(y, [x.len() / d_in, d_out], &[self.term(x)]);
    }

    fn term<'a>(&'a self, x: &'a [f32]) -> Term<'a> {
        Term::transposed(Rows::new(x, self.dims()[0]), self.weight).in_bf16(self.bf16)
    }

    /// The gradient of `x`.
    pub(super) fn backward(&self, grad: &[f32]) -> Vec<f32> {
        let [d_in, d_out] = self.dims();
        product([grad.len() / d_out, d_in], &[self.backward_term(grad)])
    }

    fn backward_term<'a>(&'a self, grad: &'a [f32]) -> Term<'a> {
        Term::new(Rows::new(grad, self.dims()[1]), self.weight).in_bf16(self.bf16)
    }

    /// The gradient of the weight.
    pub(super) fn weight_grad(&self, x: &[f32], grad: &[f32]) -> Vec<f32> {
        let [d_in, d_out] = self.dims();
        let tokens = x.len() / d_in;
        let x = Matrix::f32([tokens, d_in], x);
        product(
            [d_out, d_in],
            &[Term::new(Rows::transposed(grad, d_out), x)],
        )
    }

    /// `s·x'·Aᵀ`.
    pub(super) fn low(&self, x: &[f32], branch: &Branch<'_>) -> Vec<f32> {
        let [d_in, _] = self.dims();
        let (tokens, r) = (x.len() / d_in, branch.a.len() / d_in);
        let dropped = branch.input(x);
        let a = Matrix::f32([r, d_in], branch.a);
        branch.scaled(product(
            [tokens, r],
            &[Term::transposed(Rows::new(&dropped, d_in), a)],
        ))
    }

    /// `x·Wᵀ + low·Bᵀ`.
    pub(super) fn forward_with(&self, x: &[f32], low: &[f32], branch: &Branch<'_>) -> Vec<f32> {
        let [d_in, d_out] = self.dims();
        let (tokens, r) = (x.len() / d_in, branch.a.len() / d_in);
        let b = Term::transposed(Rows::new(low, r), Matrix::f32([d_out, r], branch.b));
        product([tokens, d_out], &[self.term(x), b])
    }

    /// The gradients of `A` and `B`, and that of `x` if it is `wanted`.
    pub(super) fn backward_with(
        &self,
        x: &[f32],
        low: &[f32],
        branch: &Branch<'_>,
        grad: &[f32],
        wanted: bool,
    ) -> (Option<Vec<f32>>, [Vec<f32>; 2]) {
        let [d_in, d_out] = self.dims();
        let (tokens, r) = (x.len() / d_in, branch.a.len() / d_in);
        let b = Matrix::f32([d_out, r], branch.b);
        let grad_low = product([tokens, r], &[Term::new(Rows::new(grad, d_out), b)]);
        let grad_low = branch.scaled(grad_low);
        let a_term = Term::new(Rows::new(&grad_low, r), Matrix::f32([r, d_in], branch.a));
        let grad_x = wanted.then(|| match branch.dropout {
            None => product([tokens, d_in], &[self.backward_term(grad), a_term]),
            Some(dropout) => {
                let mut grad_x = dropout.apply(&product([tokens, d_in], &[a_term]));
                add_product(&mut grad_x, [tokens, d_in], &[self.backward_term(grad)]);
                grad_x
            }
        });
        let dropped = branch.input(x);
        let x = Matrix::f32([tokens, d_in], &dropped);
        let grad_a = product([r, d_in], &[Term::new(Rows::transposed(&grad_low, r), x)]);
        // As Bᵀ, whose few rows make the long products short.
        let grad = Matrix::f32([tokens, d_out], grad);
        let grad_b = product([r, d_out], &[Term::new(Rows::transposed(low, r), grad)]);
        (grad_x, [grad_a, transposed(&grad_b, d_out)])
    }
}

impl Branch<'_> {
    fn input<'a>(&self, x: &'a [f32]) -> Cow<'a, [f32]> {
        match self.dropout {
            Some(dropout) => Cow::Owned(dropout.apply(x)),
            None => Cow::Borrowed(x),
        }
    }

    fn scaled(&self, mut low: Vec<f32>) -> Vec<f32> {
        let scaling = self.scaling as f32;
        low.iter_mut().for_each(|x| *x *= scaling);
        low
    }
}

/// The transpose of `[rows, columns]`.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}
