//! Proof that an adapter was trained and is on disk.

use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use llm_core::LlamaForCausalLM;
use llm_core::checkpoint::SafetensorsFile;

use super::{Adapter, FILE};
use crate::probe::Probe;
use crate::track_path::track_path;
use crate::{Error, Result};

/// The adapter on disk is in f32, so nothing is lost; only where two runs of a device differ is there a
/// difference.
const REPRODUCED: f64 = 1e-3;

impl Adapter {
    /// Proves that training has changed the adapter: every B differs from what it began as, and nothing is
    /// NaN or infinite. A B that did not change was never reached by a gradient, or only by a learning
    /// rate of 0.
    ///
    /// # Errors
    /// Names the layers whose B has not changed, or a tensor that is not finite.
    pub fn prove_trained(&self, model: &LlamaForCausalLM) -> Result<()> {
        let mut inspect = Inspect {
            path: Vec::new(),
            adapter: self,
            unchanged: Vec::new(),
            not_finite: None,
            failed: None,
        };
        model.visit(&mut inspect);
        if let Some(error) = inspect.failed {
            return Err(error);
        }
        if let Some(tensor) = inspect.not_finite {
            return Err(Error::AdapterNotFinite { tensor });
        }
        match inspect.unchanged.is_empty() {
            true => Ok(()),
            false => Err(Error::Untrained {
                of: self.starts.len(),
                layers: inspect.unchanged,
            }),
        }
    }

    /// Proves that what was saved in `dir` is this adapter: every value is the same, and when it has been
    /// read back into the model, so are the logits for `ids`.
    ///
    /// # Errors
    /// When the files cannot be read, do not fit the model, or hold other values; the model is then as it
    /// was. When they give other logits.
    pub fn prove_saved(
        &self,
        model: &mut LlamaForCausalLM,
        dir: impl AsRef<Path>,
        ids: &[u32],
    ) -> Result<()> {
        let dir = dir.as_ref();
        let path = dir.join(FILE);
        let mut compare = Compare {
            path: Vec::new(),
            adapter: self,
            file: &SafetensorsFile::open(&path)?,
            differs: None,
        };
        model.visit(&mut compare);
        if let Some(tensor) = compare.differs {
            return Err(Error::NotSaved { path, tensor });
        }
        let probe = Probe::new(model, ids)?;
        self.restore(model, dir)?;
        let what = format!("{}, read again,", path.display());
        probe.prove(model, REPRODUCED, &what).map(drop)
    }
}

/// Compares every tensor of an adapter with a file.
struct Compare<'a> {
    path: Vec<String>,
    adapter: &'a Adapter,
    file: &'a SafetensorsFile,
    /// The first that is not the same.
    differs: Option<String>,
}

impl ModuleVisitor for Compare<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(key) = self.adapter.keys.get(&self.path.join(".")) else {
            return;
        };
        let ours = param.val().cast(DType::F32).try_into_vec_as::<f32>();
        let theirs = self.file.get(key).map(|entry| entry.to_data(DType::F32).0);
        let same = match (&ours, theirs.as_ref().map(|data| data.as_slice::<f32>())) {
            (Ok(ours), Some(Ok(theirs))) => ours == theirs,
            _ => false,
        };
        if !same && self.differs.is_none() {
            self.differs = Some(key.clone());
        }
    }
}

/// Looks at every tensor of an adapter.
struct Inspect<'a> {
    path: Vec<String>,
    adapter: &'a Adapter,
    unchanged: Vec<String>,
    not_finite: Option<String>,
    failed: Option<Error>,
}

impl Inspect<'_> {
    fn look<const D: usize>(&mut self, name: &str, value: Tensor<D>) -> Result<()> {
        let largest = |tensor: Tensor<1>| -> Result<f32> {
            let largest = tensor.cast(DType::F32).abs().max();
            Ok(largest
                .try_into_scalar::<f32>()
                .map_err(llm_core::Error::from)?)
        };
        let flat = value.reshape([-1]);
        // NaN is found by no maximum on some devices, but makes every sum NaN.
        let sum = flat.clone().cast(DType::F32).abs().sum();
        let sum = sum
            .try_into_scalar::<f32>()
            .map_err(llm_core::Error::from)?;
        if !sum.is_finite() {
            self.not_finite.get_or_insert_with(|| name.to_owned());
        } else if let Some(start) = self.adapter.starts.get(name)
            && largest(flat - start.clone())? == 0.0
        {
            self.unchanged.push(super::module_of(name).to_owned());
        }
        Ok(())
    }
}

impl ModuleVisitor for Inspect<'_> {
    track_path!();

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        if self.failed.is_none() && self.adapter.keys.contains_key(&name) {
            self.failed = self.look(&name, param.val().detach()).err();
        }
    }
}
