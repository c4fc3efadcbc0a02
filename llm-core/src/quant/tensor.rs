//! `QuantizedTensor`: a quantised weight where products with it are computed.

use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{QuantFormat, QuantizedWeight};
use crate::Result;
use crate::device::is_cpu;
use crate::ops::PackedCodes;

/// A quantised weight `[out, in]` in a model, in its codes: products decode it tile by tile.
#[derive(Debug, Clone)]
pub struct QuantizedTensor {
    device: Device,
    storage: Storage,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one a layer")]
enum Storage {
    /// For the CPU; with the type in which products are computed.
    #[cfg_attr(
        not(feature = "cpu"),
        expect(dead_code, reason = "the type is the kernels' to read")
    )]
    Host(Arc<QuantizedWeight>, DType),
    /// On another device.
    Device(PackedCodes),
}

impl QuantizedTensor {
    /// Brings a weight to `device`. There its products are computed in `dtype`; on the CPU only BF16
    /// makes a difference, and only to processors that multiply it.
    pub fn new(weight: QuantizedWeight, device: &Device, dtype: DType) -> Self {
        let storage = match is_cpu(device) {
            true => Storage::Host(Arc::new(weight), dtype),
            false => Storage::Device(PackedCodes::new(&weight, device)),
        };
        Self {
            device: device.clone(),
            storage,
        }
    }

    /// Where products with it are computed.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `[out, in]`.
    pub fn shape(&self) -> [usize; 2] {
        match &self.storage {
            Storage::Host(weight, _) => weight.shape(),
            Storage::Device(codes) => codes.shape(),
        }
    }

    /// How the values are coded.
    pub fn format(&self) -> QuantFormat {
        match &self.storage {
            Storage::Host(weight, _) => weight.format(),
            Storage::Device(codes) => codes.format(),
        }
    }

    /// The weight on the host.
    ///
    /// # Errors
    /// When the device fails to hand it out.
    pub fn to_host(&self) -> Result<Arc<QuantizedWeight>> {
        match &self.storage {
            Storage::Host(weight, _) => Ok(weight.clone()),
            Storage::Device(codes) => Ok(Arc::new(codes.to_host()?)),
        }
    }

    /// The dense weight in f32, `[out, in]`.
    ///
    /// # Errors
    /// As [`to_host`](Self::to_host).
    pub fn dequantize(&self) -> Result<Tensor<2>> {
        let data = TensorData::new(self.to_host()?.dequantize(), self.shape());
        Ok(Tensor::from_data(data, (&self.device, DType::F32)))
    }

    /// `Σ w²` of each row, `[out]`, f32.
    pub(crate) fn row_squares(&self) -> Tensor<1> {
        match &self.storage {
            Storage::Host(weight, _) => {
                let squares = weight.row_squares();
                let data = TensorData::new(squares, [weight.shape()[0]]);
                Tensor::from_data(data, (&self.device, DType::F32))
            }
            Storage::Device(codes) => codes.row_squares(),
        }
    }

    /// The codes where the CPU's kernels read them, and whether products may round to bf16.
    #[cfg(feature = "cpu")]
    pub(crate) fn on_host(&self) -> Option<(&Arc<QuantizedWeight>, bool)> {
        match &self.storage {
            Storage::Host(weight, dtype) => Some((weight, *dtype == DType::BF16)),
            Storage::Device(_) => None,
        }
    }

    /// The codes on a device other than the CPU.
    pub(crate) fn on_device(&self) -> Option<&PackedCodes> {
        match &self.storage {
            Storage::Host(..) => None,
            Storage::Device(codes) => Some(codes),
        }
    }
}
