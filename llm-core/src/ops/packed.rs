//! Products with quantised weights in plain tensors, on every backend: the codes stay packed on the
//! device, and a tile of rows is decoded when it is multiplied, in the forward and again in the backward.

#[cfg(feature = "cube")]
mod kernel;

use std::ops::Range;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::Result;
use crate::quant::{BLOCK, QuantFormat, QuantizedTensor, QuantizedWeight, SCALE_BLOCK, Scales};

/// The most values of a tile.
const TILE: usize = 1 << 20;

/// A quantised weight `[out, in]` on a device. Codes are packed into words of 32 bits, those of the
/// lowest index in the lowest bits, filled up to whole blocks.
#[derive(Debug, Clone)]
pub(crate) struct PackedCodes {
    format: QuantFormat,
    shape: [usize; 2],
    words: Tensor<1, Int>,
    /// The code points of a 4-bit format, `[16]`.
    points: Tensor<1>,
    scales: PackedScales,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one a layer")]
enum PackedScales {
    /// One for each block or row.
    Plain(Tensor<1>),
    /// Codes of scales, four in a word, filled up to whole blocks of them.
    Double {
        words: Tensor<1, Int>,
        /// `[256]`.
        points: Tensor<1>,
        absmax: Tensor<1>,
        offset: f32,
        count: usize,
    },
}

impl PackedCodes {
    /// Packs a weight and brings it to `device`.
    pub(crate) fn new(weight: &QuantizedWeight, device: &Device) -> Self {
        let floats = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [values.len()]);
            Tensor::from_data(data, (device, DType::F32))
        };
        let is_4bit = weight.format() != QuantFormat::Int8;
        // In memory the code of even index stands in the high half of its byte.
        let byte = |byte: &u8| if is_4bit { byte.rotate_left(4) } else { *byte };
        let bytes: Vec<u8> = weight.codes().iter().map(byte).collect();
        let whole = if is_4bit { BLOCK / 2 } else { 4 };
        Self {
            format: weight.format(),
            shape: weight.shape(),
            words: words(bytes, whole, device),
            points: floats(weight.format().points().unwrap_or(&[0.0; 16])),
            scales: match weight.scales() {
                Scales::Plain(scales) => PackedScales::Plain(floats(scales)),
                Scales::Double {
                    codes,
                    absmax,
                    offset,
                } => PackedScales::Double {
                    words: words(codes.clone(), SCALE_BLOCK, device),
                    points: floats(Scales::double_points()),
                    absmax: floats(absmax),
                    offset: *offset,
                    count: codes.len(),
                },
            },
        }
    }

    /// `[out, in]`.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// How the values are coded.
    pub(crate) fn format(&self) -> QuantFormat {
        self.format
    }

    /// The weight as it came.
    pub(crate) fn to_host(&self) -> Result<QuantizedWeight> {
        let [rows, width] = self.shape;
        let mut codes = bytes(&self.words)?;
        if self.format == QuantFormat::Int8 {
            codes.truncate(rows * width);
        } else {
            codes.truncate((rows * width).div_ceil(2));
            codes
                .iter_mut()
                .for_each(|byte| *byte = byte.rotate_left(4));
        }
        let floats = |tensor: &Tensor<1>| -> Result<Vec<f32>> {
            let data = tensor.clone().try_to_data();
            let data = data.map_err(|error| crate::Error::Backend(error.to_string()))?;
            Ok(data.iter::<f32>().collect())
        };
        let scales = match &self.scales {
            PackedScales::Plain(scales) => Scales::Plain(floats(scales)?),
            PackedScales::Double {
                words,
                absmax,
                offset,
                count,
                ..
            } => Scales::Double {
                codes: bytes(words)?.drain(..*count).collect(),
                absmax: floats(absmax)?,
                offset: *offset,
            },
        };
        Ok(QuantizedWeight::from_parts(
            self.format,
            self.shape,
            codes,
            scales,
        ))
    }

    /// The rows of a tile, first to last.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let [rows, width] = self.shape;
        let most = (TILE / width).max(1);
        (0..rows)
            .step_by(most)
            .map(move |start| start..rows.min(start + most))
    }

    /// Some rows, decoded: `[rows, in]`, f32.
    fn decode(&self, rows: Range<usize>) -> Tensor<2> {
        let width = self.shape[1];
        let (start, len) = (rows.start * width, rows.len() * width);
        if self.format == QuantFormat::Int8 {
            let first = start / 4;
            let words = self
                .words
                .clone()
                .narrow(0, first, (start + len).div_ceil(4) - first);
            let values = unpack::<4>(words, 8, true).float().cast(DType::F32);
            let values = values
                .narrow(0, start - 4 * first, len)
                .reshape([rows.len(), width]);
            let scales = self.scale_range(rows) / 127.0;
            return values * scales.unsqueeze_dim::<2>(1);
        }
        let blocks = start / BLOCK..(start + len).div_ceil(BLOCK);
        let words =
            self.words
                .clone()
                .narrow(0, blocks.start * (BLOCK / 8), blocks.len() * (BLOCK / 8));
        let first = start - blocks.start * BLOCK;
        let scales = self.scale_range(blocks).into_dispatch();
        let points = self.points.clone().into_dispatch();
        let flat = Dispatch::packed_decode(words.into_dispatch(), points, scales);
        let flat = Tensor::<1>::from_dispatch(flat);
        flat.narrow(0, first, len).reshape([rows.len(), width])
    }

    /// The scales of some blocks or rows.
    fn scale_range(&self, range: Range<usize>) -> Tensor<1> {
        match &self.scales {
            PackedScales::Plain(scales) => scales.clone().narrow(0, range.start, range.len()),
            PackedScales::Double {
                words,
                points,
                absmax,
                offset,
                ..
            } => {
                let blocks = range.start / SCALE_BLOCK..range.end.div_ceil(SCALE_BLOCK);
                let in_words = SCALE_BLOCK / 4;
                let words =
                    words
                        .clone()
                        .narrow(0, blocks.start * in_words, blocks.len() * in_words);
                let values = points.clone().select(0, unpack::<4>(words, 8, false));
                let absmax = absmax.clone().narrow(0, blocks.start, blocks.len());
                let values =
                    values.reshape([blocks.len(), SCALE_BLOCK]) * absmax.unsqueeze_dim::<2>(1);
                let flat: Tensor<1> = values.reshape([-1]) + *offset;
                flat.narrow(0, range.start - blocks.start * SCALE_BLOCK, range.len())
            }
        }
    }

    /// `Σ w²` of each row, `[out]`.
    pub(crate) fn row_squares(&self) -> Tensor<1> {
        let squares = self.tiles().map(|rows| {
            let squares = self.decode(rows).square().sum_dim(1);
            squares.squeeze_dim(1)
        });
        Tensor::cat(squares.collect(), 0)
    }

    /// `x·Wᵀ` of `x` `[tokens, in]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let products = self.tiles().map(|rows| {
            let tile = self.decode(rows).cast(x.dtype());
            x.clone().matmul(tile.transpose())
        });
        Tensor::cat(products.collect(), 1)
    }

    /// `grad·W` of `grad` `[tokens, out]`.
    fn backward(&self, grad: Tensor<2>) -> Tensor<2> {
        let products = self.tiles().map(|rows| {
            let part = grad.clone().narrow(1, rows.start, rows.len());
            part.matmul(self.decode(rows).cast(grad.dtype()))
        });
        let [tokens, _] = grad.dims();
        let zeros = || Tensor::zeros([tokens, self.shape[1]], (&grad.device(), grad.dtype()));
        products.reduce(|a, b| a + b).unwrap_or_else(zeros)
    }
}

/// The values of whole blocks of 4-bit codes, flat.
#[cfg(feature = "cpu")]
fn decode_blocks(words: Tensor<1, Int>, points: Tensor<1>, scales: Tensor<1>) -> Tensor<1> {
    let [blocks] = scales.dims();
    let values = points.select(0, unpack::<8>(words, 4, false));
    let values = values.reshape([blocks, BLOCK]) * scales.unsqueeze_dim::<2>(1);
    values.reshape([-1])
}

/// Bytes, filled up to a multiple of `whole`, as words.
fn words(mut bytes: Vec<u8>, whole: usize, device: &Device) -> Tensor<1, Int> {
    bytes.resize(bytes.len().next_multiple_of(whole), 0);
    let words = bytes
        .as_chunks()
        .0
        .iter()
        .map(|word| i32::from_le_bytes(*word));
    let words: Vec<i32> = words.collect();
    let data = TensorData::new(words, [bytes.len() / 4]);
    Tensor::from_data(data, (device, DType::I32))
}

fn bytes(words: &Tensor<1, Int>) -> Result<Vec<u8>> {
    let data = words.clone().try_to_data();
    let data = data.map_err(|error| crate::Error::Backend(error.to_string()))?;
    Ok(data.iter::<i32>().flat_map(i32::to_le_bytes).collect())
}

/// The `N` codes of `bits` bits in each word, one behind the other.
fn unpack<const N: usize>(words: Tensor<1, Int>, bits: i32, signed: bool) -> Tensor<1, Int> {
    let device = words.device();
    let [count] = words.dims();
    let shift = |of: fn(i32, i32) -> i32| {
        let shifts: Vec<i32> = (0..N as i32).map(|index| of(index, bits)).collect();
        Tensor::<1, Int>::from_data(TensorData::new(shifts, [N]), (&device, DType::I32))
            .unsqueeze::<2>()
            .expand([count, N])
    };
    let words = words.unsqueeze_dim::<2>(1).expand([count, N]);
    let codes = match signed {
        // Up against the sign, and down with it.
        true => words
            .bitwise_left_shift(shift(|index, bits| 32 - bits - index * bits))
            .bitwise_right_shift_scalar(32 - bits),
        false => words
            .bitwise_right_shift(shift(|index, bits| index * bits))
            .bitwise_and_scalar((1 << bits) - 1),
    };
    codes.reshape([-1])
}

/// `x·Wᵀ` of `x` `[.., in]`.
pub(crate) fn packed_linear<const D: usize>(x: Tensor<D>, weight: &QuantizedTensor) -> Tensor<D> {
    let packed = match weight.on_device() {
        Some(codes) => codes.clone(),
        None => unreachable!("the kernels of the CPU take codes of the host"),
    };
    let mut dims = x.dims();
    let rows = x.reshape([-1, packed.shape[1] as i32]);
    dims[D - 1] = packed.shape[0];
    let y = Dispatch::packed_linear(rows.into_dispatch(), packed);
    Tensor::<2>::from_dispatch(y).reshape(dims)
}

/// The product with its backward, for every backend that plain tensors run on.
#[backend_extension(
    Autodiff,
    Flex: cfg(feature = "cpu"),
    Cube: cfg(feature = "cube")
)]
pub(crate) trait PackedOps: Backend {
    /// The values of whole blocks of 4-bit codes, flat: words of eight codes, `[16]` code points, a scale for
    /// each block.
    fn packed_decode(
        words: IntTensor<Self>,
        points: FloatTensor<Self>,
        scales: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// `x·Wᵀ` of `x` `[tokens, in]`.
    fn packed_linear(x: FloatTensor<Self>, weight: PackedCodes) -> FloatTensor<Self>;
    /// `grad·W` of `grad` `[tokens, out]`.
    fn packed_linear_backward(grad: FloatTensor<Self>, weight: PackedCodes) -> FloatTensor<Self>;
}

/// Implements the operations in plain tensors of a backend.
macro_rules! in_plain_tensors {
    ($backend:ty, $decode:expr) => {
        impl PackedOps for $backend {
            fn packed_decode(
                words: IntTensor<Self>,
                points: FloatTensor<Self>,
                scales: FloatTensor<Self>,
            ) -> FloatTensor<Self> {
                $decode(words, points, scales)
            }

            fn packed_linear(x: FloatTensor<Self>, weight: PackedCodes) -> FloatTensor<Self> {
                let y = weight.forward(Tensor::from_primitive::<Self>(x));
                y.try_into_primitive::<Self>()
                    .expect("a tensor of this backend")
            }

            fn packed_linear_backward(
                grad: FloatTensor<Self>,
                weight: PackedCodes,
            ) -> FloatTensor<Self> {
                let x = weight.backward(Tensor::from_primitive::<Self>(grad));
                x.try_into_primitive::<Self>()
                    .expect("a tensor of this backend")
            }
        }
    };
}

#[cfg(feature = "cpu")]
in_plain_tensors!(burn::backend::Flex, |words, points, scales| {
    type Own = burn::backend::Flex;
    let [points, scales] = [points, scales].map(Tensor::from_primitive::<Own>);
    let values = decode_blocks(Tensor::from_primitive::<Own>(words), points, scales);
    values
        .try_into_primitive::<Own>()
        .expect("a tensor of this backend")
});
#[cfg(feature = "cube")]
in_plain_tensors!(burn::backend::Cube, kernel::decode_blocks);

impl<B: PackedOps, C: CheckpointStrategy> PackedOps for Autodiff<B, C> {
    fn packed_decode(
        _: IntTensor<Self>,
        _: FloatTensor<Self>,
        _: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        unreachable!("codes and scales are constants")
    }

    fn packed_linear(x: FloatTensor<Self>, weight: PackedCodes) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let y = B::packed_linear(x, weight.clone());
        match PackedBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish(weight, y),
            OpsKind::UnTracked(op) => op.finish(y),
        }
    }

    fn packed_linear_backward(_: FloatTensor<Self>, _: PackedCodes) -> FloatTensor<Self> {
        unreachable!("gradients of gradients are not computed")
    }
}

#[derive(Debug)]
struct PackedBackward;

impl<B: PackedOps> Backward<B, 1> for PackedBackward {
    type State = PackedCodes;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::packed_linear_backward(grad, ops.state));
        }
    }
}

#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests {
    use super::*;
    use crate::quant::Quantization;

    fn weights() -> impl Iterator<Item = QuantizedWeight> {
        let formats = [
            (QuantFormat::Nf4, true),
            (QuantFormat::Nf4, false),
            (QuantFormat::Fp4, true),
            (QuantFormat::Int8, false),
        ];
        // Rows that are whole blocks, and rows that ignore blocks, words and bytes; more than 256 blocks.
        let shapes = [[300, 64], [7, 45], [130, 131]];
        formats.into_iter().flat_map(move |(format, double)| {
            shapes.into_iter().map(move |shape| {
                let len = shape[0] * shape[1];
                let values: Vec<f32> = (0..len).map(|i| (i as f32 * 0.37).sin() * 0.1).collect();
                QuantizedWeight::quantize(&values, shape, format, double).unwrap()
            })
        })
    }

    fn device() -> Device {
        crate::open_device("cpu").unwrap()
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn plain_tensors_decode_what_the_host_decodes() {
        for weight in weights() {
            let packed = PackedCodes::new(&weight, &device());
            let dense = weight.dequantize();
            let [rows, width] = weight.shape();
            for range in [0..rows, 1..rows, rows / 2..rows / 2 + 1] {
                let ours = values(packed.decode(range.clone()));
                let theirs = &dense[range.start * width..range.end * width];
                let near = ours
                    .iter()
                    .zip(theirs)
                    .all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs());
                assert!(near, "{:?} {:?} {range:?}", weight.format(), weight.shape());
            }
        }
    }

    #[test]
    fn packed_codes_come_back_as_they_were() {
        for weight in weights() {
            assert_eq!(
                PackedCodes::new(&weight, &device()).to_host().unwrap(),
                weight
            );
        }
    }

    #[test]
    fn products_and_gradients_are_those_of_the_decoded_weight() {
        for weight in weights() {
            let [rows, width] = weight.shape();
            let device = device().autodiff();
            let x: Vec<f32> = (0..3 * width).map(|i| (i as f32).cos()).collect();
            let x = Tensor::<2>::from_data(TensorData::new(x, [3, width]), (&device, DType::F32));
            let dense = TensorData::new(weight.dequantize(), [rows, width]);
            let dense = Tensor::<2>::from_data(dense, (&device, DType::F32));
            let packed = PackedCodes::new(&weight, &device.inner());
            let run = |product: &dyn Fn(Tensor<2>) -> Tensor<2>| {
                let x = x.clone().require_grad();
                let y = product(x.clone());
                let gradients = y.clone().square().sum().backward();
                [values(y), values(x.grad(&gradients).unwrap())].concat()
            };
            let ours = run(&|x| {
                Tensor::from_dispatch(Dispatch::packed_linear(x.into_dispatch(), packed.clone()))
            });
            let theirs = run(&|x| x.matmul(dense.clone().transpose()));
            let most = theirs.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(
                ours.iter()
                    .zip(&theirs)
                    .all(|(a, b)| (a - b).abs() < 1e-5 * most)
            );
        }
    }

    #[test]
    fn qlora_is_half_a_byte_and_an_eighth_of_a_bit_a_weight() {
        let Quantization { format, double } = Quantization::QLORA;
        let weight =
            QuantizedWeight::quantize(&[0.1; 1 << 16], [256, 256], format, double).unwrap();
        assert_eq!(weight.bytes(), (1 << 15) + (1 << 10) + 4 * 4 + 4);
    }
}
