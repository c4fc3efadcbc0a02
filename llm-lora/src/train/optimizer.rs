//! AdamW over groups of parameters.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor};
use llm_core::checkpoint::{LazyTensor, SafetensorsFile};
use llm_core::{LlamaForCausalLM, TensorProblem};

use super::TrainConfig;
use super::gradients::Sums;
use crate::track_path::track_path;
use crate::{Error, Result};

/// Parameters of fewer values share a group, and one update, with their neighbours: an adapter has
/// hundreds of small matrices.
const GROUPED: usize = 1 << 20;

/// AdamW (Loshchilov and Hutter 2017, <https://arxiv.org/abs/1711.05101>) with the arithmetic of
/// `torch.optim.AdamW`. Norms and biases are not decayed, as in transformers' trainer.
pub(super) struct AdamW {
    betas: [f64; 2],
    epsilon: f64,
    weight_decay: f64,
    steps: u32,
    groups: Vec<Group>,
}

/// Parameters that are updated together, one behind the other in flat f32 tensors.
struct Group {
    members: Vec<Member>,
    decays: bool,
    /// The parameters themselves. Where their own type is coarser, small updates add up here.
    values: Tensor<1>,
    /// Running mean of the gradient.
    first: Tensor<1>,
    /// Running mean of its square.
    second: Tensor<1>,
}

struct Member {
    id: ParamId,
    /// The parameter's path in the module tree.
    name: String,
    start: usize,
    len: usize,
    /// Whether the parameter's own type is coarser than f32.
    coarse: bool,
}

impl Member {
    /// Its part of a group's flat tensor.
    fn of(&self, flat: &Tensor<1>) -> Tensor<1> {
        flat.clone().narrow(0, self.start, self.len)
    }
}

impl AdamW {
    /// For the parameters of `model` that require gradients.
    pub(super) fn new(config: &TrainConfig, model: &LlamaForCausalLM) -> Self {
        let mut grouping = Grouping::default();
        model.visit(&mut grouping);
        grouping.close();
        Self {
            betas: config.betas,
            epsilon: config.epsilon,
            weight_decay: config.weight_decay,
            steps: 0,
            groups: grouping.groups,
        }
    }

    /// How many values are trained.
    pub(super) fn trainable(&self) -> usize {
        self.groups.iter().map(|group| group.values.dims()[0]).sum()
    }

    /// Zero, `[1]`, or NaN if one of the values that are trained is not finite: 0 times such a value is NaN,
    /// and the sum of zeros cannot overflow.
    pub(super) fn soundness(&self) -> Option<Tensor<1>> {
        let sums = self
            .groups
            .iter()
            .map(|group| (group.values.clone() * 0.0).sum());
        sums.reduce(|a, b| a + b)
    }

    /// The gradients of each group, flat; zeros where there is none.
    pub(super) fn gather(&self, mut gradients: Sums, device: &Device) -> Vec<Tensor<1>> {
        let mut flat = |member: &Member| {
            let zeros = || Tensor::zeros([member.len], (device, DType::F32));
            gradients.remove(&member.id).unwrap_or_else(zeros)
        };
        let groups = self.groups.iter();
        groups
            .map(|group| cat(group.members.iter().map(&mut flat).collect()))
            .collect()
    }

    /// Updates every parameter; `clip` scales the gradients, which are those of the groups.
    pub(super) fn step(
        &mut self,
        model: &mut LlamaForCausalLM,
        gradients: Vec<Tensor<1>>,
        learning_rate: f64,
        clip: f64,
    ) {
        self.steps += 1;
        let [beta1, beta2] = self.betas;
        let steps = f64::from(self.steps);
        let [correction1, correction2] = self.betas.map(|beta| 1.0 - beta.powf(steps));
        let mut values = HashMap::new();
        for (group, gradient) in self.groups.iter_mut().zip(gradients) {
            let gradient = gradient * clip;
            group
                .first
                .inplace(|first| first * beta1 + gradient.clone() * (1.0 - beta1));
            group
                .second
                .inplace(|second| second * beta2 + gradient.square() * (1.0 - beta2));
            let denominator = group.second.clone().sqrt() / correction2.sqrt() + self.epsilon;
            let step = group.first.clone() / denominator * (learning_rate / correction1);
            let decay = if group.decays { self.weight_decay } else { 0.0 };
            group.values.inplace(|values| match decay == 0.0 {
                true => values - step,
                false => values * (1.0 - learning_rate * decay) - step,
            });
            for member in &group.members {
                values.insert(member.id, member.of(&group.values));
            }
        }
        *model = super::take(model).map(&mut Update { values });
    }
}

/// What a checkpoint holds of a parameter: the moments' names, and that of its own values.
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];
const VALUES: &str = "master";

/// Saving and restoring.
impl AdamW {
    /// Updates done.
    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    /// The state by parameter: both moments, under torch's names, and the values where the parameter's
    /// own type is coarser.
    pub(super) fn tensors(&self) -> Result<Vec<LazyTensor>> {
        let mut tensors = Vec::new();
        for group in &self.groups {
            for member in &group.members {
                let mut add = |kind: &str, flat: &Tensor<1>| -> Result<()> {
                    let name = format!("{kind}.{}", member.name);
                    let tensor = LazyTensor::new(name, member.of(flat), DType::F32)?;
                    tensors.push(tensor);
                    Ok(())
                };
                add(MOMENTS[0], &group.first)?;
                add(MOMENTS[1], &group.second)?;
                if member.coarse {
                    add(VALUES, &group.values)?;
                }
            }
        }
        Ok(tensors)
    }

    /// Takes over what [`tensors`](Self::tensors) of a run over the same parameters gave, all of it or
    /// nothing.
    pub(super) fn restore(&mut self, file: &SafetensorsFile, steps: u32) -> Result<()> {
        let mut problems = Vec::new();
        let mut restored = Vec::new();
        for group in &self.groups {
            let mut read = |kind| group.read(file, kind, &mut problems);
            restored.push([read(VALUES), read(MOMENTS[0]), read(MOMENTS[1])]);
        }
        if !problems.is_empty() {
            return Err(Error::OptimizerTensors {
                path: file.path().to_owned(),
                problems,
            });
        }
        for (group, tensors) in self.groups.iter_mut().zip(restored) {
            [group.values, group.first, group.second] = tensors;
        }
        self.steps = steps;
        Ok(())
    }
}

impl Group {
    /// One of its flat tensors, from a file.
    fn read(
        &self,
        file: &SafetensorsFile,
        kind: &str,
        problems: &mut Vec<TensorProblem>,
    ) -> Tensor<1> {
        let device = self.values.device();
        let part = |member: &Member| {
            // Parameters in full precision stand in the model alone.
            if kind == VALUES && !member.coarse {
                return member.of(&self.values);
            }
            let name = format!("{kind}.{}", member.name);
            let entry = file.get(&name);
            let zeros = || Tensor::zeros([member.len], (&device, DType::F32));
            match (TensorProblem::find(&name, &[member.len], entry), entry) {
                (None, Some(entry)) => {
                    let (data, not_finite) = entry.to_data(DType::F32);
                    if not_finite > 0 {
                        problems.push(TensorProblem::NotFinite {
                            name,
                            count: not_finite,
                        });
                        return zeros();
                    }
                    Tensor::from_data(data, (&device, DType::F32))
                }
                (problem, _) => {
                    problems.extend(problem);
                    zeros()
                }
            }
        };
        cat(self.members.iter().map(part).collect())
    }
}

/// One behind the other; a single one as it is.
fn cat(mut tensors: Vec<Tensor<1>>) -> Tensor<1> {
    match tensors.len() {
        1 => tensors.remove(0),
        _ => Tensor::cat(tensors, 0),
    }
}

/// Collects the parameters that are trained into groups.
#[derive(Default)]
struct Grouping {
    path: Vec<String>,
    groups: Vec<Group>,
    open: Vec<(Member, Tensor<1>)>,
    decays: bool,
}

impl Grouping {
    /// Makes a group of what has been collected.
    fn close(&mut self) {
        let mut members = Vec::new();
        let mut values = Vec::new();
        let mut start = 0;
        for (mut member, flat) in self.open.drain(..) {
            member.start = start;
            start += member.len;
            members.push(member);
            values.push(flat);
        }
        if members.is_empty() {
            return;
        }
        let values = cat(values);
        self.groups.push(Group {
            members,
            decays: self.decays,
            first: values.zeros_like(),
            second: values.zeros_like(),
            values,
        });
    }

    /// Whether weight decay applies: not to biases, nor to the weights of norms.
    fn decays(&self) -> bool {
        let [.., module, parameter] = &self.path[..] else {
            return true;
        };
        parameter != "bias" && !module.ends_with("norm")
    }
}

impl ModuleVisitor for Grouping {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let value = param.val().inner();
        let coarse = value.dtype() != DType::F32;
        let flat = value.cast(DType::F32).reshape([-1]);
        let large = |flat: &Tensor<1>| flat.dims()[0] >= GROUPED;
        let last_is_large = self.open.last().is_some_and(|(_, last)| large(last));
        if self.decays != self.decays() || large(&flat) || last_is_large {
            self.close();
        }
        self.decays = self.decays();
        let member = Member {
            id: param.id,
            name: self.path.join("."),
            start: 0,
            len: flat.dims()[0],
            coarse,
        };
        self.open.push((member, flat));
    }
}

/// Gives the parameters their new values.
struct Update {
    values: HashMap<ParamId, Tensor<1>>,
}

impl ModuleMapper for Update {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.values.remove(&param.id) else {
            return param;
        };
        let shape = param.lazy_shape();
        param.map(|old| {
            let new = value.reshape(shape).cast(old.dtype());
            Tensor::from_inner(new).require_grad()
        })
    }
}
