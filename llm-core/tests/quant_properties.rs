//! What holds for every weight: error bounds, random access, the hub round trip, hostile files.

use std::borrow::Cow;
use std::collections::HashMap;

use llm_core::quant::{
    BLOCK, HubDtype, HubTensor, QuantError, QuantFormat, QuantizedWeight, WeightDtype,
};
use proptest::prelude::*;

const LAYER: &str = "model.layers.0.mlp.up_proj";

type Layer<'a> = HashMap<String, HubTensor<'a>>;

fn layer(weight: &QuantizedWeight) -> Layer<'_> {
    weight
        .to_hub(LAYER, WeightDtype::BFloat16)
        .into_iter()
        .collect()
}

fn read_layer(layer: &Layer<'_>) -> Result<QuantizedWeight, QuantError> {
    QuantizedWeight::from_hub(LAYER, |name| layer.get(name).cloned())
}

/// Values over several orders of magnitude, in matrices whose rows ignore the blocks.
fn matrices() -> impl Strategy<Value = (Vec<f32>, [usize; 2])> {
    (1_usize..12, 1_usize..150).prop_flat_map(|(rows, width)| {
        let value =
            (-1_f32..1.0, -12_i32..4).prop_map(|(digits, power)| digits * 2_f32.powi(power));
        prop::collection::vec(value, rows * width).prop_map(move |v| (v, [rows, width]))
    })
}

fn quantized() -> impl Strategy<Value = QuantizedWeight> {
    let formats = [
        (QuantFormat::Nf4, false),
        (QuantFormat::Nf4, true),
        (QuantFormat::Fp4, false),
        (QuantFormat::Fp4, true),
        (QuantFormat::Int8, false),
    ];
    (matrices(), prop::sample::select(formats.to_vec())).prop_map(
        |((values, shape), (format, double))| {
            QuantizedWeight::quantize(&values, shape, format, double).expect("finite values")
        },
    )
}

/// Half the widest gap between code points, and for int8 half a step and the rounding to f16.
fn error_bound(format: QuantFormat) -> f32 {
    match format {
        QuantFormat::Nf4 => (1.0 - 0.696_192_8) / 2.0,
        QuantFormat::Fp4 => (1.0 - 8.0 / 12.0) / 2.0,
        QuantFormat::Int8 => 0.5 / 127.0 + 2_f32.powi(-11),
    }
}

proptest! {
    #[test]
    fn decoded_values_are_near((values, [rows, width]) in matrices()) {
        for format in [QuantFormat::Nf4, QuantFormat::Fp4, QuantFormat::Int8] {
            let weight = QuantizedWeight::quantize(&values, [rows, width], format, false).unwrap();
            let block = if format == QuantFormat::Int8 { width } else { BLOCK };
            let decoded = weight.dequantize();
            for (values, decoded) in values.chunks(block).zip(decoded.chunks(block)) {
                let absmax = values.iter().fold(0_f32, |max, value| max.max(value.abs()));
                for (value, decoded) in values.iter().zip(decoded) {
                    let error = (value - decoded).abs();
                    prop_assert!(error <= absmax * error_bound(format) * 1.0001 + 1e-7, "{value} {decoded}");
                }
            }
        }
    }

    #[test]
    fn any_run_is_that_of_the_whole(
        weight in quantized(),
        row in any::<prop::sample::Index>(),
        ends in any::<[prop::sample::Index; 2]>(),
    ) {
        let [rows, width] = weight.shape();
        let row = row.index(rows);
        let mut ends = ends.map(|end| end.index(width + 1));
        ends.sort_unstable();
        let mut run = vec![f32::NAN; ends[1] - ends[0]];
        weight.read(row, ends[0]..ends[1], &mut run);
        let whole = weight.dequantize();
        prop_assert_eq!(run.as_slice(), &whole[row * width..][ends[0]..ends[1]]);
    }

    #[test]
    fn hub_layers_read_back(weight in quantized()) {
        prop_assert_eq!(read_layer(&layer(&weight)).unwrap(), weight);
    }

    #[test]
    fn hostile_layers_are_refused_or_read(
        weight in quantized(),
        victim in any::<prop::sample::Index>(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        damage in 0..4,
    ) {
        let mut layer = layer(&weight);
        let mut names: Vec<_> = layer.keys().cloned().collect();
        names.sort();
        let tensor = layer.get_mut(victim.get(&names)).unwrap();
        let was = tensor.dtype;
        let bytes = tensor.bytes.to_mut();
        match damage {
            0 => *place.get_mut(bytes) = byte,
            1 => bytes.truncate(place.index(bytes.len())),
            2 => tensor.shape = vec![usize::MAX, usize::from(byte)],
            _ => tensor.dtype = HubDtype::F32,
        }
        match read_layer(&layer) {
            Ok(read) => {
                prop_assert!(damage == 0 || damage == 3 && was == HubDtype::F32);
                prop_assert_eq!(read.dequantize().len(), read.shape()[0] * read.shape()[1]);
            }
            Err(error) => prop_assert!(error.to_string().contains(LAYER)),
        }
    }
}

#[test]
fn every_tensor_but_the_format_is_needed() {
    for (format, double) in [(QuantFormat::Nf4, true), (QuantFormat::Int8, false)] {
        let weight = QuantizedWeight::quantize(&[1.0; 130], [2, 65], format, double).unwrap();
        let whole = layer(&weight);
        for name in whole.keys().filter(|name| !name.ends_with("weight_format")) {
            let mut layer = whole.clone();
            layer.remove(name);
            let error = read_layer(&layer).unwrap_err();
            assert!(
                matches!(error, QuantError::Missing { .. }),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn errors_name_the_tensor_and_both_sides() {
    let weight = QuantizedWeight::quantize(&[1.0; 130], [2, 65], QuantFormat::Nf4, true).unwrap();
    let state = format!("{LAYER}.weight.quant_state.bitsandbytes__nf4");
    let cases = [
        (
            "\"blocksize\": 64",
            "\"blocksize\": 99",
            "blocksize: expected 64, got 99",
        ),
        ("[2, 65]", "[2, 99]", "shape: expected [99, 1], got [65, 1]"),
        (
            "[2, 65]",
            "[0, 65]",
            "shape: expected a non-empty matrix, got [0, 65]",
        ),
        ("\"nested_offset\"", "\"unknown\"", "unknown field"),
        ("bfloat16", "float64", "unknown variant `float64`"),
        (
            "nested_offset\": 1.0",
            "nested_offset\": 1e99",
            "nested_offset",
        ),
    ];
    for (from, to, message) in cases {
        let mut layer = layer(&weight);
        let tensor = layer.get_mut(&state).unwrap();
        let json = String::from_utf8(tensor.bytes.to_vec()).unwrap();
        assert!(json.contains(from), "{json}");
        let json = json.replace(from, to).into_bytes();
        tensor.shape = vec![json.len()];
        tensor.bytes = Cow::Owned(json);
        let error = read_layer(&layer).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains(LAYER), "{error}");
    }
}

#[test]
fn values_without_codes_are_refused() {
    let quantize = |values: &[f32], format, double| {
        QuantizedWeight::quantize(values, [1, 2], format, double).unwrap_err()
    };
    let error = quantize(&[0.0, f32::NAN], QuantFormat::Nf4, true);
    assert!(
        matches!(error, QuantError::NotFinite { index: 1, .. }),
        "{error}"
    );
    let whole = [[0.0; 127].as_slice(), &[f32::NAN]].concat();
    let error = QuantizedWeight::quantize(&whole, [2, 64], QuantFormat::Fp4, false).unwrap_err();
    assert!(
        matches!(error, QuantError::NotFinite { index: 127, .. }),
        "{error}"
    );
    let error = quantize(&[0.0, 65520.0], QuantFormat::Int8, false);
    assert_eq!(error.to_string(), "value 1 is 65520: expected a finite f16");
    let error = quantize(&[0.0; 3], QuantFormat::Nf4, false);
    assert!(
        matches!(error, QuantError::Values { got: 3, .. }),
        "{error}"
    );
    let error = quantize(&[0.0; 2], QuantFormat::Int8, true);
    assert!(matches!(error, QuantError::DoubleInt8), "{error}");
}
