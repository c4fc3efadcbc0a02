//! Equality with bitsandbytes, to the byte and to the last bit of every f32.
//!
//! Two sets: `shared/fixtures/quant/nf4.safetensors` (skipped where it is absent) and the small
//! `goldens/quant/bitsandbytes.safetensors`, made by the script beside it.

use std::borrow::Cow;

use llm_core::quant::{HubDtype, HubTensor, QuantFormat, QuantizedWeight, Scales, WeightDtype};
use safetensors::{Dtype, SafeTensors};

use crate::support::{own, shared};

fn fixtures() -> Option<Vec<u8>> {
    Some(std::fs::read(shared("fixtures/quant/nf4.safetensors")?).unwrap())
}

fn goldens() -> Vec<u8> {
    std::fs::read(own("quant/bitsandbytes.safetensors")).unwrap()
}

/// The values of an F32 or BF16 tensor.
fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).expect(name);
    match tensor.dtype() {
        Dtype::F32 => tensor
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|v| f32::from_le_bytes(*v))
            .collect(),
        Dtype::BF16 => {
            let values = tensor.data().as_chunks().0.iter();
            values
                .map(|v| half::bf16::from_le_bytes(*v).to_f32())
                .collect()
        }
        other => panic!("{name} is {other:?}"),
    }
}

fn matrix(file: &SafeTensors, name: &str) -> (Vec<f32>, [usize; 2]) {
    let shape = file
        .tensor(name)
        .expect(name)
        .shape()
        .try_into()
        .expect(name);
    (floats(file, name), shape)
}

fn bytes<'a>(file: &SafeTensors<'a>, name: &str) -> &'a [u8] {
    file.tensor(name).expect(name).data()
}

fn hub<'a>(file: &SafeTensors<'a>, name: &str) -> Option<HubTensor<'a>> {
    let tensor = file.tensor(name).ok()?;
    Some(HubTensor {
        dtype: match tensor.dtype() {
            Dtype::U8 => HubDtype::U8,
            Dtype::I8 => HubDtype::I8,
            Dtype::F32 => HubDtype::F32,
            other => panic!("{name} is {other:?}"),
        },
        shape: tensor.shape().to_vec(),
        bytes: Cow::Borrowed(tensor.data()),
    })
}

#[track_caller]
fn assert_bits(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert_eq!(
            got.to_bits(),
            expected.to_bits(),
            "value {i}: {got} {expected}"
        );
    }
}

/// The weights of the goldens, which are computed rather than stored.
fn weights(len: usize) -> Vec<f32> {
    let next = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let uniform = std::iter::successors(Some(1), next).skip(1);
    uniform
        .map(|x| (x >> 8) as f32 / (1 << 24) as f32 - 0.5)
        .map(|u| u * u * u)
        .take(len)
        .collect()
}

#[test]
fn plain_scales_equal_the_fixtures() {
    let Some(file) = fixtures() else { return };
    let file = SafeTensors::deserialize(&file).unwrap();
    let cases = [
        (QuantFormat::Nf4, "w", "packed", "absmax", "deq"),
        (QuantFormat::Nf4, "w_bf16", "packed_bf16", "absmax_bf16", ""),
        (QuantFormat::Fp4, "w", "fp4_packed", "fp4_absmax", "fp4_deq"),
        (
            QuantFormat::Nf4,
            "ragged_w",
            "ragged_packed",
            "ragged_absmax",
            "ragged_deq",
        ),
        (
            QuantFormat::Nf4,
            "rows96_w",
            "rows96_packed",
            "rows96_absmax",
            "rows96_deq",
        ),
    ];
    for (format, values, packed, absmax, decoded) in cases {
        let (values, shape) = matrix(&file, values);
        let weight = QuantizedWeight::quantize(&values, shape, format, false).unwrap();
        assert_eq!(weight.codes(), bytes(&file, packed), "{packed}");
        assert_eq!(weight.scales(), &Scales::Plain(floats(&file, absmax)));
        match decoded {
            // bitsandbytes decodes to the type that the weight had.
            "" => {
                let decoded = weight.dequantize().into_iter().map(half::bf16::from_f32);
                let decoded: Vec<_> = decoded.map(half::bf16::to_f32).collect();
                assert_bits(&decoded, &floats(&file, "deq_bf16"));
            }
            decoded => assert_bits(&weight.dequantize(), &floats(&file, decoded)),
        }
    }
}

#[test]
fn double_quantisation_and_its_hub_layout_equal_the_fixtures() {
    let Some(file) = fixtures() else { return };
    let file = SafeTensors::deserialize(&file).unwrap();
    let (values, shape) = matrix(&file, "w");
    let weight = QuantizedWeight::quantize(&values, shape, QuantFormat::Nf4, true).unwrap();
    assert_eq!(weight.codes(), bytes(&file, "packed"));
    let scales = Scales::Double {
        codes: bytes(&file, "dq_absmax_u8").to_vec(),
        absmax: floats(&file, "dq_nested_absmax"),
        offset: floats(&file, "dq_offset")[0],
    };
    assert_eq!(weight.scales(), &scales);
    assert_bits(&weight.dequantize(), &floats(&file, "dq_deq"));
    assert_layer(&file, "hub", &weight, WeightDtype::Float32);
}

/// `weight` is written as the layer in the file, and the layer is read as `weight`.
#[track_caller]
fn assert_layer(file: &SafeTensors, layer: &str, weight: &QuantizedWeight, dtype: WeightDtype) {
    let tensors = weight.to_hub(layer, dtype);
    for (name, tensor) in &tensors {
        assert_eq!(Some(tensor), hub(file, name).as_ref(), "{name}");
    }
    let prefix = format!("{layer}.");
    let stored = file
        .names()
        .into_iter()
        .filter(|name| name.starts_with(&prefix));
    assert_eq!(tensors.len(), stored.count());
    let read = QuantizedWeight::from_hub(layer, |name| hub(file, name)).expect(layer);
    assert_eq!(&read, weight);
}

#[test]
fn four_bit_layers_equal_the_goldens() {
    let file = goldens();
    let file = SafeTensors::deserialize(&file).unwrap();
    let big = weights(127 * 131);
    let small: Vec<_> = big[..33 * 65].iter().map(|w| w * 1e-4).collect();
    let plain = big[..16 * 24]
        .iter()
        .map(|w| half::bf16::from_f32(*w).to_f32());
    let (nf4, fp4) = (QuantFormat::Nf4, QuantFormat::Fp4);
    let (f32, bf16) = (WeightDtype::Float32, WeightDtype::BFloat16);
    for (layer, values, shape, format, double, dtype) in [
        ("big", &big, [127, 131], nf4, true, f32),
        ("fp4", &small, [33, 65], fp4, true, f32),
        ("plain", &plain.collect(), [16, 24], fp4, false, bf16),
    ] {
        let weight = QuantizedWeight::quantize(values, shape, format, double).unwrap();
        assert_layer(&file, layer, &weight, dtype);
    }
}

/// Code 15 of NF4 is 1, so decoding a matrix of it reveals the scales.
#[test]
fn double_scales_decode_as_in_the_goldens() {
    let file = goldens();
    let file = SafeTensors::deserialize(&file).unwrap();
    let ones = vec![0xff; 8319];
    let weight = QuantizedWeight::from_hub("big", |name| {
        let tensor = hub(&file, name)?;
        Some(match name {
            "big.weight" => HubTensor {
                bytes: Cow::Borrowed(&ones),
                ..tensor
            },
            _ => tensor,
        })
    })
    .unwrap();
    let scales: Vec<_> = weight.dequantize().into_iter().step_by(64).collect();
    assert_bits(&scales, &floats(&file, "big_scales"));
}

#[test]
fn int8_layer_equals_the_goldens() {
    let file = goldens();
    let file = SafeTensors::deserialize(&file).unwrap();
    let mut values = weights(8 * 40);
    values[2 * 40..3 * 40].fill(0.0);
    values[3 * 40..4 * 40]
        .iter_mut()
        .for_each(|value| *value *= 1000.0);
    let weight = QuantizedWeight::quantize(&values, [8, 40], QuantFormat::Int8, false).unwrap();
    assert_layer(&file, "int8", &weight, WeightDtype::Float16);
    assert_bits(&weight.dequantize(), &floats(&file, "int8_deq"));
}
