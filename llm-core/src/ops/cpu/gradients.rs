//! The backward of every operation: what it keeps from the forward, and what it makes of the result's
//! gradient.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Shape;
use burn_flex::FlexTensor;

use super::super::Want;
use super::attention;
use super::backend::{
    BranchOptions, CpuOps, Weight, f32s, inputs, lora_forward, sizes, tensor, with_last_dim,
};
use super::elementwise::{rms_norm_backward, rms_norm_weight_grad, rotate, swiglu_backward};

type Diff<C> = Autodiff<Flex, C>;

impl<C: CheckpointStrategy> CpuOps for Diff<C> {
    fn cpu_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let [x, weight] = inputs([x, weight].map(|tensor| tensor.into_primitive()));
        let y = Flex::cpu_rms_norm(x.clone(), weight.clone(), eps);
        match RmsNormBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((x, weight, eps), y),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn cpu_rotate(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [cos, sin] = inputs([cos, sin].map(|angles| angles.into_primitive()));
        let y = Flex::cpu_rotate(x.primitive().clone(), cos.clone(), sin.clone());
        match RotateBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish([cos, sin], y),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn cpu_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first: Arc<[u32]>,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let [q, k, v] = inputs([q, k, v].map(|tensor| tensor.into_primitive()));
        let (o, lse) = attention::forward(&sizes(&q, &k), f32s(&q), f32s(&k), f32s(&v), &first);
        let o = tensor(o, q.layout().shape().clone());
        match AttentionBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => {
                op.finish((Arc::new([q, k, v, o.clone()]), lse.into(), first), o)
            }
            OpsKind::UnTracked(op) => op.finish(o),
        }
    }

    fn cpu_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let [gate, up] = inputs([gate, up].map(|tensor| tensor.into_primitive()));
        let y = Flex::cpu_swiglu(gate.clone(), up.clone());
        match SwigluBackward
            .prepare::<C>(nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish([gate, up], y),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn cpu_linear(x: FloatTensor<Self>, weight: Weight<Self>, want: Want) -> FloatTensor<Self> {
        let x_node = x.node();
        let [x] = inputs([x.into_primitive()]);
        let dense = match weight {
            Weight::Dense(weight) => weight,
            Weight::Coded(coded) => {
                let weight = Weight::Coded(coded);
                let y = Flex::cpu_linear(x, weight.clone(), want);
                return match FrozenLinearBackward
                    .prepare::<C>([x_node])
                    .compute_bound()
                    .stateful()
                {
                    OpsKind::Tracked(op) => op.finish(weight, y),
                    OpsKind::UnTracked(op) => op.finish(y),
                };
            }
        };
        // The input is kept for a weight that is trained only.
        let kept = dense.is_tracked().then(|| x.clone());
        let weight = Weight::Dense(dense.primitive().clone());
        let y = Flex::cpu_linear(x, weight.clone(), want);
        match LinearBackward
            .prepare::<C>([x_node, dense.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((weight, kept), y),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn cpu_lora_linear(
        x: FloatTensor<Self>,
        weight: Weight<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        branch: BranchOptions,
        want: Want,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), a.node(), b.node()];
        let [x, a, b] = inputs([x, a, b].map(|tensor| tensor.into_primitive()));
        let weight = match weight {
            Weight::Dense(weight) => Weight::Dense(weight.into_primitive()),
            Weight::Coded(coded) => Weight::Coded(coded),
        };
        let (y, low) = lora_forward(&x, &weight, [&a, &b], &branch, want);
        match LoraBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(op) => op.finish(
                LoraState {
                    x,
                    weight,
                    a,
                    b,
                    low,
                    branch,
                },
                y,
            ),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn cpu_carry(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let zero = tensor(vec![0.0], Shape::new([1]));
        match CarryBackward
            .prepare::<C>([x.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish(gradient.into_primitive(), zero),
            OpsKind::UnTracked(op) => op.finish(zero),
        }
    }

    fn cpu_linear_cross_entropy(
        _: FloatTensor<Self>,
        _: Weight<Self>,
        _: Arc<[u32]>,
        _: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        unreachable!("the loss computes its gradients itself, outside of the graph")
    }
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = (FlexTensor, FlexTensor, f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let (x, weight, eps) = ops.state;
        let [x_node, weight_node] = ops.parents;
        if let Some(node) = x_node {
            let grad = rms_norm_backward(f32s(&x), f32s(&weight), eps, f32s(&grad));
            grads.register::<Flex>(node.id, tensor(grad, x.layout().shape().clone()));
        }
        if let Some(node) = weight_node {
            let shape = weight.layout().shape().clone();
            let grad = rms_norm_weight_grad(f32s(&x), shape.num_elements(), eps, f32s(&grad));
            grads.register::<Flex>(node.id, tensor(grad, shape));
        }
    }
}

#[derive(Debug)]
struct RotateBackward;

impl Backward<Flex, 1> for RotateBackward {
    type State = [FlexTensor; 2];

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let [cos, sin] = ops.state;
        if let [Some(node)] = ops.parents {
            let shape = grad.layout().shape().clone();
            let [.., head_dim] = shape.dims::<4>();
            let grad = rotate(f32s(&grad), [f32s(&cos), f32s(&sin)], head_dim, true);
            grads.register::<Flex>(node.id, tensor(grad, shape));
        }
    }
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    /// q, k, v and the output; the logarithms of the rows' sums; what each token sees first.
    type State = (Arc<[FlexTensor; 4]>, Arc<[f32]>, Arc<[u32]>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let (tensors, lse, first) = ops.state;
        let [q, k, v, o] = &*tensors;
        let sizes = sizes(q, k);
        let new = attention::backward(
            &sizes,
            f32s(q),
            f32s(k),
            f32s(v),
            f32s(o),
            &lse,
            f32s(&grad),
            &first,
        );
        for ((node, grad), of) in ops.parents.into_iter().zip(new).zip([q, k, v]) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(grad, of.layout().shape().clone()));
            }
        }
    }
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 2> for SwigluBackward {
    type State = [FlexTensor; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let [gate, up] = ops.state;
        let new = swiglu_backward(f32s(&gate), f32s(&up), f32s(&grad));
        for (node, new) in ops.parents.into_iter().zip(new) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(new, grad.layout().shape().clone()));
            }
        }
    }
}

#[derive(Debug)]
struct FrozenLinearBackward;

impl Backward<Flex, 1> for FrozenLinearBackward {
    type State = Weight<Flex>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        if let [Some(node)] = ops.parents {
            register_input_grad(node.id, &ops.state, &grad, grads);
        }
    }
}

#[derive(Debug)]
struct LinearBackward;

impl Backward<Flex, 2> for LinearBackward {
    /// The weight, and the input if the weight is trained.
    type State = (Weight<Flex>, Option<FlexTensor>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let (weight, x) = ops.state;
        let [x_node, weight_node] = ops.parents;
        if let Some(node) = x_node {
            register_input_grad(node.id, &weight, &grad, grads);
        }
        if let (Some(node), Some(x)) = (weight_node, x) {
            let layer = weight.layer();
            let grad = layer.weight_grad(f32s(&x), f32s(&grad));
            grads.register::<Flex>(node.id, tensor(grad, Shape::new(layer.weight.shape)));
        }
    }
}

fn register_input_grad(
    id: NodeId,
    weight: &Weight<Flex>,
    grad: &FlexTensor,
    grads: &mut Gradients,
) {
    let layer = weight.layer();
    let shape = with_last_dim(grad.layout().shape(), layer.weight.shape[1]);
    grads.register::<Flex>(id, tensor(layer.backward(f32s(grad)), shape));
}

#[derive(Debug)]
struct LoraBackward;

#[derive(Debug, Clone)]
struct LoraState {
    x: FlexTensor,
    weight: Weight<Flex>,
    a: FlexTensor,
    b: FlexTensor,
    /// `s·x'·Aᵀ`.
    low: FlexTensor,
    branch: BranchOptions,
}

impl Backward<Flex, 3> for LoraBackward {
    type State = LoraState;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let LoraState {
            x,
            weight,
            a,
            b,
            low,
            branch,
        } = ops.state;
        let [x_node, a_node, b_node] = ops.parents;
        let branch = branch.with(&a, &b);
        let (grad_x, [grad_a, grad_b]) = weight.layer().backward_with(
            f32s(&x),
            f32s(&low),
            &branch,
            f32s(&grad),
            x_node.is_some(),
        );
        let new = [
            (x_node, grad_x, &x),
            (a_node, Some(grad_a), &a),
            (b_node, Some(grad_b), &b),
        ];
        for (node, grad, of) in new {
            if let (Some(node), Some(grad)) = (node, grad) {
                grads.register::<Flex>(node.id, tensor(grad, of.layout().shape().clone()));
            }
        }
    }
}

#[derive(Debug)]
struct CarryBackward;

impl Backward<Flex, 1> for CarryBackward {
    type State = FlexTensor;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [grad] = inputs([grads.consume::<Flex>(&ops.node)]);
        let factor = f32s(&grad)[0];
        if let [Some(node)] = ops.parents {
            let gradient = match factor {
                1.0 => ops.state,
                _ => Flex::float_mul_scalar(ops.state, factor.into()),
            };
            grads.register::<Flex>(node.id, gradient);
        }
    }
}
