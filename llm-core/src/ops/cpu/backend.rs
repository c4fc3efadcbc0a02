//! The bridge between Burn's tensors and the kernels: an extension of the CPU backend.

use std::fmt;
use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, ExtensionType, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use half::bf16;

use super::super::{Dropout, Want};
use super::attention::{self, Shape as Sizes};
use super::elementwise::{rms_norm, rotate, swiglu};
use super::linear::{Branch, Layer};
use super::loss::linear_cross_entropy;
use super::matrix::{Decode, Matrix, Values};

/// The weight of a linear layer, `[out, in]`.
#[derive(ExtensionType)]
pub(crate) enum Weight<B: Backend> {
    /// f32 or bf16.
    Dense(FloatTensor<B>),
    /// In fewer bits, decoded as it is used.
    Coded(Coded),
}

/// A coded weight on the host.
#[derive(Clone)]
pub(crate) struct Coded {
    /// `[out, in]`.
    pub(crate) shape: [usize; 2],
    pub(crate) values: Arc<dyn Decode + Send>,
    /// Whether products may round to bf16.
    pub(crate) bf16: bool,
}

/// An adapter's scaling and dropout.
#[derive(Debug, Clone)]
pub(crate) struct BranchOptions {
    pub(crate) scaling: f64,
    pub(crate) dropout: Option<Dropout>,
}

/// Activations are f32 and contiguous; weights are f32, or matrices in bf16 that are multiplied as such
/// where the processor can.
#[backend_extension(Autodiff, Flex)]
pub(crate) trait CpuOps: Backend {
    /// `x / √(mean(x²) + ε) · weight` over the last dimension.
    fn cpu_rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64)
    -> FloatTensor<Self>;

    /// `x` `[.., tokens, heads, head_dim]`, its heads' halves rotated; `cos` and `sin` hold
    /// `[tokens, head_dim / 2]`.
    fn cpu_rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    /// `q` `[batch, seq, heads, head_dim]`, `k` and `v` `[batch, seq, kv_heads, head_dim]`; token i of the
    /// flat batch sees `first[i] ..= i`.
    fn cpu_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: Arc<[u32]>,
    ) -> FloatTensor<Self>;

    /// `silu(gate) · up`.
    fn cpu_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x·Wᵀ`; for its gradients only, without the product.
    fn cpu_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: Weight<Self>,
        want: Want,
    ) -> FloatTensor<Self>;

    /// `x·Wᵀ + s·(x'·Aᵀ)·Bᵀ`, where `W` is frozen and `x'` is `x` under dropout.
    fn cpu_lora_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: Weight<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        branch: BranchOptions,
        want: Want,
    ) -> FloatTensor<Self>;

    /// A zero `[1]` whose gradient with respect to `x` is `gradient`.
    fn cpu_carry(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The loss `[1]` of `hidden` `[tokens, hidden]` under a head, summed over the tokens, and the
    /// gradients of `hidden` and of the head's weight (`[0, 0]` if it is not wanted).
    fn cpu_linear_cross_entropy(
        hidden: FloatTensor<Self>,
        #[extension_type] head: Weight<Self>,
        targets: Arc<[u32]>,
        weight_wanted: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// The values of a tensor that [`inputs`] has seen, or that is new.
pub(super) fn f32s(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous f32")
}

/// Contiguous inputs.
pub(super) fn inputs<const N: usize>(tensors: [FlexTensor; N]) -> [FlexTensor; N] {
    tensors.map(|tensor| tensor.to_contiguous())
}

pub(super) fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape),
        DType::F32,
    )
}

pub(super) fn with_last_dim(shape: &Shape, last: usize) -> Shape {
    let mut dims = shape.to_vec();
    if let Some(dim) = dims.last_mut() {
        *dim = last;
    }
    Shape::from(dims)
}

impl Weight<Flex> {
    pub(super) fn layer(&self) -> Layer<'_> {
        match self {
            Self::Coded(Coded {
                shape,
                values,
                bf16,
            }) => Layer {
                weight: Matrix {
                    shape: *shape,
                    values: Values::Coded(values.as_ref()),
                },
                bf16: *bf16,
            },
            Self::Dense(weight) => {
                let [rows, columns] = weight.layout().shape().dims();
                let is_bf16 = weight.dtype() == DType::BF16;
                let values = match is_bf16 {
                    true => Values::Bf16(weight.as_slice::<bf16>().expect("a contiguous weight")),
                    false => Values::F32(f32s(weight)),
                };
                Layer {
                    weight: Matrix {
                        shape: [rows, columns],
                        values,
                    },
                    bf16: is_bf16,
                }
            }
        }
    }
}

impl Clone for Weight<Flex> {
    fn clone(&self) -> Self {
        match self {
            Self::Dense(weight) => Self::Dense(weight.clone()),
            Self::Coded(coded) => Self::Coded(coded.clone()),
        }
    }
}

impl fmt::Debug for Weight<Flex> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weight{:?}", self.layer().weight.shape)
    }
}

pub(super) fn sizes(q: &FlexTensor, k: &FlexTensor) -> Sizes {
    let [batch, seq, heads, head_dim] = q.layout().shape().dims();
    let [_, _, kv_heads, _] = k.layout().shape().dims();
    Sizes {
        tokens: batch * seq,
        heads,
        kv_heads,
        head_dim,
    }
}

impl CpuOps for Flex {
    fn cpu_rms_norm(x: FlexTensor, weight: FlexTensor, eps: f64) -> FlexTensor {
        let [x, weight] = inputs([x, weight]);
        let y = rms_norm(f32s(&x), f32s(&weight), eps);
        tensor(y, x.layout().shape().clone())
    }

    fn cpu_rotate(x: FlexTensor, cos: FlexTensor, sin: FlexTensor) -> FlexTensor {
        let [x, cos, sin] = inputs([x, cos, sin]);
        let [.., head_dim] = x.layout().shape().dims::<4>();
        let y = rotate(f32s(&x), [f32s(&cos), f32s(&sin)], head_dim, false);
        tensor(y, x.layout().shape().clone())
    }

    fn cpu_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor, first: Arc<[u32]>) -> FlexTensor {
        let [q, k, v] = inputs([q, k, v]);
        let (o, _) = attention::forward(&sizes(&q, &k), f32s(&q), f32s(&k), f32s(&v), &first);
        tensor(o, q.layout().shape().clone())
    }

    fn cpu_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        let [gate, up] = inputs([gate, up]);
        tensor(
            swiglu(f32s(&gate), f32s(&up)),
            gate.layout().shape().clone(),
        )
    }

    fn cpu_linear(x: FlexTensor, weight: Weight<Self>, want: Want) -> FlexTensor {
        let [x] = inputs([x]);
        let layer = weight.layer();
        let shape = with_last_dim(x.layout().shape(), layer.weight.shape[0]);
        match want {
            Want::Output => tensor(layer.forward(f32s(&x)), shape),
            Want::Gradients => absent(shape),
        }
    }

    fn cpu_lora_linear(
        x: FlexTensor,
        weight: Weight<Self>,
        a: FlexTensor,
        b: FlexTensor,
        branch: BranchOptions,
        want: Want,
    ) -> FlexTensor {
        let [x, a, b] = inputs([x, a, b]);
        lora_forward(&x, &weight, [&a, &b], &branch, want).0
    }

    fn cpu_carry(_: FlexTensor, _: FlexTensor) -> FlexTensor {
        tensor(vec![0.0], Shape::new([1]))
    }

    fn cpu_linear_cross_entropy(
        hidden: FlexTensor,
        head: Weight<Self>,
        targets: Arc<[u32]>,
        weight_wanted: bool,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [hidden] = inputs([hidden]);
        let layer = head.layer();
        let (loss, grad, weight_grad) =
            linear_cross_entropy(f32s(&hidden), layer, &targets, weight_wanted);
        let weight_shape = if weight_wanted {
            layer.weight.shape
        } else {
            [0, 0]
        };
        (
            tensor(vec![loss as f32], Shape::new([1])),
            tensor(grad, hidden.layout().shape().clone()),
            tensor(weight_grad.unwrap_or_default(), Shape::new(weight_shape)),
        )
    }
}

/// The layer's output, if it is wanted, and the branch's inner one.
pub(super) fn lora_forward(
    x: &FlexTensor,
    weight: &Weight<Flex>,
    [a, b]: [&FlexTensor; 2],
    options: &BranchOptions,
    want: Want,
) -> (FlexTensor, FlexTensor) {
    let layer = weight.layer();
    let branch = options.with(a, b);
    let low = layer.low(f32s(x), &branch);
    let shape = |last| with_last_dim(x.layout().shape(), last);
    let y_shape = shape(layer.weight.shape[0]);
    let y = match want {
        Want::Output => tensor(layer.forward_with(f32s(x), &low, &branch), y_shape),
        Want::Gradients => absent(y_shape),
    };
    let [r, _] = a.layout().shape().dims();
    (y, tensor(low, shape(r)))
}

impl BranchOptions {
    pub(super) fn with<'a>(&'a self, a: &'a FlexTensor, b: &'a FlexTensor) -> Branch<'a> {
        Branch {
            a: f32s(a),
            b: f32s(b),
            scaling: self.scaling,
            dropout: self.dropout.as_ref(),
        }
    }
}

/// A tensor of a shape, of which nothing else is read: a zero seen everywhere.
fn absent(shape: Shape) -> FlexTensor {
    let strides = vec![0; shape.num_dims()];
    FlexTensor::new(
        Bytes::from_elems(vec![0f32]),
        Layout::new(shape, strides, 0),
        DType::F32,
    )
}
